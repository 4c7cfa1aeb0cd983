"""A slim CVP-MVSNet that trains on two CPU cores in minutes, on procedural tabletop scenes in the DTU layout.

Make the data with  python tools/make_synthetic.py --layout dtu --scenes 6 --views 12 --seed 1 --out data/synthetic_dtu
(the last scene is kept for validation).
"""

_base_ = ["../_base_/default_runtime.py"]

data_root = "data/synthetic_dtu"
train_scans = (1, 2, 3, 4, 5)
val_scans = (6,)

model = dict(
    type="MultiViewStereo",
    num_levels=2,
    test_num_levels=3,
    data_preprocessor=dict(type="MultiViewPreprocessor"),
    backbone=dict(type="PyramidFeatures", channels=(16, 16, 16, 16, 16, 16)),
    head=dict(
        type="CostVolumePyramid",
        coarse_hypotheses=dict(type="UniformInverseDepth", num=48),
        fine_hypotheses=dict(type="PixelInterval", num=8, pixels=1.0),
        aggregator=dict(type="Variance"),
        regularizer=dict(type="HourglassRegularizer", channels=(8, 16, 32), norm="group"),
    ),
    losses=dict(depth=dict(type="SupervisedDepthLoss", planes=128)),
)

train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="MVSDataset",
        scenes=dict(type="DTUTraining", root=data_root, scans=train_scans),
        num_sources=2,
        extra_sources=2,
        size=(120, 160),
        transforms=[dict(type="ColourJitter")],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="MVSDataset",
        scenes=dict(type="DTUTraining", root=data_root, scans=val_scans, lightings=(3,)),
        num_sources=4,
        size=(240, 320),
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="DepthMetric", thresholds=(2.0, 4.0, 8.0), unit="mm")
test_evaluator = val_evaluator

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end=1000, T_max=950, eta_min=1e-5),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=1000, val_interval=500)
val_cfg = dict()
test_cfg = dict()

# The run is counted in iterations.
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=500))
log_processor = dict(by_epoch=False)

# Defaults of tools/reconstruct.py.
reconstruction = dict(max_size=960, num_levels=3, num_sources=4)
