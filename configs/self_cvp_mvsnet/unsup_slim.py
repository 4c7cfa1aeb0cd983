"""The slim CVP-MVSNet without ground truth, on procedural tabletop scenes in the DTU layout.

    python tools/make_synthetic.py --layout dtu --scenes 6 --views 12 --seed 1 --out data/synthetic_dtu
    python tools/self_train.py configs/self_cvp_mvsnet/unsup_slim.py --work-dir work_dirs/unsup_slim

Network, data and schedule of cvp_mvsnet_slim; the losses differ. Depth is read by evaluation alone, on the scene kept out.
"""

_base_ = [
    "../cvp_mvsnet/cvp_mvsnet_slim.py",
    "../_base_/losses/photometric.py",
]

model = dict(
    losses=dict(
        _delete_=True,
        # One of two sources: the other one may be where the pixel is hidden.
        photo=dict(type="ViewSynthesisLoss", errors=_base_.slim_losses.photo.errors, k=1),
        smooth=_base_.slim_losses.smooth,
    )
)

train_dataloader = dict(
    dataset=dict(
        read_depth=False,
        scenes=dict(depth=False),
        transforms=[dict(type="ColourJitter", gamma=0.05, contrast=0.05, brightness=0.02, balance=0.02)],
    )
)
# Ground truth chooses no weights.
default_hooks = dict(checkpoint=dict(save_best=None))

self_training = dict(
    iterations=2,
    inference=dict(
        num_levels=3,
        num_sources=4,
        recipe=dict(min_confidence=0.0, max_reprojection_px=1.0, max_relative_depth=0.01, min_views=3),
    ),
    labels=dict(source="both"),
    shared=r"(scan\d+)_\d+",
    training=dict(
        model=dict(losses=dict(_delete_=True, label=dict(type="SupervisedDepthLoss", planes=128))),
        optim_wrapper=dict(optimizer=dict(lr=1e-3)),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=20),
            dict(type="CosineAnnealingLR", by_epoch=False, begin=20, end=400, T_max=380, eta_min=1e-5),
        ],
        train_cfg=dict(max_iters=400),
    ),
)
