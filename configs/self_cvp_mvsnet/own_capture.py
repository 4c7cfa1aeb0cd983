"""One posed capture of your own: a network is trained on its images alone, on its own labels, and reconstructs it.

    python tools/self_train.py configs/self_cvp_mvsnet/own_capture.py --scene PATH --work-dir work_dirs/mine

PATH is of any format of docs/scenes.md. The depth range is the source's or comes from sparse points, which are
triangulated where there are none; --depth-range NEAR FAR gives it. --checkpoint starts from a trained network.
"""

_base_ = ["./unsup_slim_indoor.py"]

train_dataloader = dict(
    dataset=dict(
        scenes=dict(path="data/capture"),
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

reconstruction = dict(max_size=960, num_levels=4, num_sources=6, recipe=dict(min_confidence=0.0, min_views=3))

self_training = dict(
    iterations=2,
    inference=dict(num_sources=6, recipe=dict(min_views=3)),
    training=dict(
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=20),
            dict(type="CosineAnnealingLR", by_epoch=False, begin=20, end=300, T_max=280, eta_min=1e-5),
        ],
        train_cfg=dict(max_iters=300),
    ),
    reconstruction=reconstruction,
)
