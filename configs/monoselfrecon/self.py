"""MonoSelfRecon on ScanNet without ground truth, both phases in one run: ten epochs without memory, then with it."""

_base_ = [
    "../_base_/volumetric_runtime.py",
    "../_base_/models/monoselfrecon.py",
    "../_base_/datasets/fragments_unlabelled.py",
    "../_base_/schedules/monoselfrecon.py",
    "../_base_/losses/monoselfrecon.py",
]

model = dict(losses=_base_.self_supervised_losses)
# Pairs of views within a fragment are up to 5 apart without memory, then 3.
custom_hooks = [dict(type="FusionPhaseHook", fusion_epoch=10, pair_distances=(5, 3))]
