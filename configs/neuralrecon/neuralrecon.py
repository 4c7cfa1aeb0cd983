"""NeuralRecon on ScanNet: the paper's network, data and schedule, with corrected numerics; both phases in one run."""

_base_ = [
    "../_base_/volumetric_runtime.py",
    "../_base_/models/neuralrecon.py",
    "../_base_/datasets/fragments.py",
    "../_base_/schedules/neuralrecon.py",
    "../_base_/losses/monoselfrecon.py",
]

model = dict(losses=_base_.neuralrecon_losses)
# Scenes are turned about the vertical and moved.
train_dataloader = dict(dataset=dict(placement=dict(move_z=0.025)))
custom_hooks = [dict(type="FusionPhaseHook", fusion_epoch=20)]
