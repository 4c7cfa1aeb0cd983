"""MVSNet without ground truth: view synthesis with JDACS-MS's weights, then self-training as CVP-MVSNet's."""

_base_ = [
    "../_base_/losses/photometric.py",
    "../_base_/self_training/dtu.py",
    "../mvsnet/mvsnet.py",
]

model = dict(
    losses=dict(
        _delete_=True,
        colour=_base_.jdacs_ms_losses.colour,
        ssim=_base_.jdacs_ms_losses.ssim,
        smooth=dict(type="DepthSmoothnessLoss", weight=0.18),  # JDACS's for MVSNet
    )
)

train_dataloader = dict(dataset=dict(num_sources=4, read_depth=False, scenes=dict(depth=False)))
# Ground truth chooses no weights.
default_hooks = dict(checkpoint=dict(save_best=None))

self_training = dict(
    label_scenes=[dict(type="DTUTest", root=_base_.data_root, scan=scan, depth=False) for scan in _base_.train_scans],
    inference=dict(num_levels=1),
    training=dict(train_dataloader=dict(dataset=dict(num_sources=2))),
)
