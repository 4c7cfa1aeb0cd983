"""DTU in the layout of the published training set: Cameras/, Rectified/*_train, Depths/ (mm)."""

data_root = "data/dtu"
# The split of SurfaceNet and MVSNet: 79 scans for training, 18 for validation, 22 for evaluation.
train_scans = (
    *(2, 6, 7, 8, 14, 16, 18, 19, 20, 22, 30, 31, 36, 39, 41, 42, 44, 45, 46, 47, 50, 51, 52, 53, 55, 57, 58, 60, 61),
    *(63, 64, 65, 68, 69, 70, 71, 72, 74, 76, 83, 84, 85, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100),
    *(101, 102, 103, 104, 105, 107, 108, 109, 111, 112, 113, 115, 116, 119, 120, 121, 122, 123, 124, 125, 126, 127),
    128,
)
val_scans = (3, 5, 17, 21, 28, 35, 37, 38, 40, 43, 56, 59, 66, 67, 82, 86, 106, 117)

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="MVSDataset",
        scenes=dict(type="DTUTraining", root=data_root, scans=train_scans),
        num_sources=2,
        size=(128, 160),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="MVSDataset",
        scenes=dict(type="DTUTraining", root=data_root, scans=val_scans, lightings=(3,)),
        num_sources=2,
        size=(128, 160),
        every=7,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="DepthMetric", thresholds=(2.0, 4.0, 8.0), unit="mm")
test_evaluator = val_evaluator
