"""MVSNet (Yao et al., ECCV 2018) from the same parts: one level at a quarter of the resolution, 192 planes.

Without the paper's refinement network, which its authors found to change little.
"""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/dtu.py",
    "../_base_/schedules/cvp_mvsnet.py",
]

model = dict(
    type="MultiViewStereo",
    num_levels=1,
    data_preprocessor=dict(type="MultiViewPreprocessor"),
    backbone=dict(type="MVSNetFeatures", channels=(8, 16, 32)),
    head=dict(
        type="CostVolumePyramid",
        coarse_hypotheses=dict(type="UniformDepth", num=192),
        aggregator=dict(type="Variance"),
        regularizer=dict(type="UNetRegularizer", channels=(8, 16, 32, 64)),
    ),
    losses=dict(depth=dict(type="SupervisedDepthLoss")),
)

train_dataloader = dict(batch_size=4, dataset=dict(size=(512, 640)))
val_dataloader = dict(dataset=dict(size=(512, 640)))
test_dataloader = dict(dataset=dict(size=(512, 640)))
train_cfg = dict(max_epochs=16)
param_scheduler = dict(milestones=[10, 12, 14])

# Defaults of tools/reconstruct.py.
reconstruction = dict(num_sources=4, recipe=dict(preset="dtu"))
