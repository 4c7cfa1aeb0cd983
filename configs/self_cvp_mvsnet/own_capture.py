"""One posed capture of your own: a network is trained on its images alone, on its own labels, and reconstructs it.

    python tools/self_train.py configs/self_cvp_mvsnet/own_capture.py --scene PATH --work-dir work_dirs/mine

PATH is of any format of docs/scenes.md. The depth range is the source's or comes from sparse points, which are
triangulated where there are none; --depth-range NEAR FAR gives it. --checkpoint starts from a trained network.
"""

_base_ = ["./unsup_slim_indoor.py"]

model = dict(test_num_levels=3, test_downscale=1)

train_dataloader = dict(
    dataset=dict(
        scenes=dict(path="data/capture", triangulate=True),
        # Photographs: few, and far from each other.
        extra_sources=5,
        size=None,
        max_size=192,
        depth_range=None,
    )
)

param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end=800, T_max=750, eta_min=1e-5),
]
train_cfg = dict(max_iters=800)
default_hooks = dict(checkpoint=dict(interval=100))

reconstruction = dict(
    _delete_=True, max_size=960, num_levels=4, num_sources=6, recipe=dict(min_confidence=0.0, min_views=3)
)

self_training = dict(
    _delete_=True,
    iterations=2,
    inference=dict(
        max_size=640,
        num_levels=3,
        num_sources=6,
        min_distinctness=0.01,
        recipe=dict(min_confidence=0.05, min_views=3, trim_distance=10.0),
    ),
    labels=dict(source="both"),
    training=dict(
        model=dict(
            losses=dict(
                _delete_=True,
                label=dict(type="SupervisedDepthLoss", planes=128),
                smooth=dict(type="DepthSmoothnessLoss", order=2, weight=5.0),
            )
        ),
        optim_wrapper=dict(optimizer=dict(lr=1e-3)),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=20),
            dict(type="CosineAnnealingLR", by_epoch=False, begin=20, end=300, T_max=280, eta_min=1e-5),
        ],
        train_cfg=dict(max_iters=300),
    ),
    reconstruction=dict(max_size=960, num_levels=4, num_sources=6, recipe=dict(min_confidence=0.0, min_views=3)),
)
