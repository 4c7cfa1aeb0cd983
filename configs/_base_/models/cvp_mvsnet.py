"""CVP-MVSNet at the paper's size (Yang et al., CVPR 2020), with corrected numerics: 551,585 parameters."""

model = dict(
    type="MultiViewStereo",
    num_levels=2,
    test_num_levels=5,
    data_preprocessor=dict(type="MultiViewPreprocessor"),
    backbone=dict(type="PyramidFeatures", channels=(64, 64, 64, 32, 32, 32, 16, 16, 16)),
    head=dict(
        type="CostVolumePyramid",
        coarse_hypotheses=dict(type="UniformDepth", num=48),
        fine_hypotheses=dict(type="PixelInterval", num=8, pixels=1.0),
        warper=dict(type="PlaneSweepWarper"),
        aggregator=dict(type="Variance"),
        regularizer=dict(type="HourglassRegularizer", channels=(16, 32, 64)),
        regression=dict(type="SoftArgmin"),
        confidence=dict(type="WindowConfidence"),
    ),
    losses=dict(depth=dict(type="SupervisedDepthLoss")),
)

# Defaults of tools/reconstruct.py: the setting of the paper's evaluation.
reconstruction = dict(num_levels=5, num_sources=4, recipe=dict(preset="dtu"))
