r"""A slim CVP-MVSNet from posed indoor video alone, of any format (docs/scenes.md), with a known depth range.

    python tools/self_train.py configs/self_cvp_mvsnet/unsup_slim_indoor.py --scene PATH --work-dir work_dirs/room

The start alone:

    python tools/train.py configs/self_cvp_mvsnet/unsup_slim_indoor.py \
        --cfg-options train_dataloader.dataset.scenes.path=PATH

Depth files are left alone even where there are some. To measure, give test data in a config of your own, as
docs/self_training.md shows.
"""

_base_ = [
    "../_base_/unsupervised_runtime.py",
    "../_base_/models/cvp_mvsnet_slim_indoor.py",
    "../_base_/losses/photometric.py",
]

# Poses of hand-held cameras are rarely good to a pixel of the full image. As they are given, a quarter of 640 x 480, at
# which the network was trained, gives better depth than the full size; with refined poses the full size does, slower
# (docs/self_training.md has the numbers).
model = dict(losses=_base_.slim_losses, test_num_levels=2, test_downscale=4)

train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="MVSDataset",
        scenes=dict(type="AnyScene", path="data/capture", depth=False, triangulate=False),
        # Video: the best views are neighbours, so three of many.
        num_sources=3,
        extra_sources=13,
        size=(120, 160),
        depth_range=(0.5, 4.0),
        read_depth=False,
        transforms=[dict(type="ColourJitter", gamma=0.05, contrast=0.05, brightness=0.02, balance=0.02)],
    ),
)

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end=4000, T_max=3950, eta_min=1e-5),
]
# The rest of the schedule is left to self-training, which gains more per step.
train_cfg = dict(type="IterBasedTrainLoop", max_iters=1500)

# Without validation there are no metrics to file and no pictures to draw.
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=500), metrics_file=None, pictures=None)
log_processor = dict(by_epoch=False)

# Depth that the images cannot tell from a wrong one (bare cabinets) is left out, however smooth it is. What is left is
# averaged in a coarse signed distance volume with a wide truncation: a surface better than the poses it was made with,
# against which they are refined.
seen_clearly = dict(max_size=160, num_levels=2, num_sources=8, min_distinctness=0.01)
averaged = dict(
    method="tsdf",
    min_confidence=0.05,
    max_reprojection_px=6.0,
    max_relative_depth=0.15,
    min_views=5,
    num_sources=20,
    tsdf_voxel=0.04,
    tsdf_truncation=5.0,
)

# Defaults of tools/reconstruct.py.
reconstruction = dict(**seen_clearly, recipe=averaged)

self_training = dict(
    iterations=2,
    inference=dict(every=2, **seen_clearly, recipe=averaged),
    poses=dict(),
    labels=dict(source="mesh"),
    metrics=dict(thresholds=(0.05,), unit="m", min_depth=0.3, max_depth=4.0),
    training=dict(
        model=dict(
            losses=dict(
                _delete_=True,
                label=dict(type="SupervisedDepthLoss", planes=128),
                smooth=dict(type="DepthSmoothnessLoss", order=2, weight=5.0),
            )
        ),
        train_dataloader=dict(dataset=dict(num_sources=4, extra_sources=12)),
        optim_wrapper=dict(optimizer=dict(lr=1e-3)),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=30),
            dict(type="CosineAnnealingLR", by_epoch=False, begin=30, end=500, T_max=470, eta_min=1e-5),
        ],
        train_cfg=dict(max_iters=500),
    ),
)
