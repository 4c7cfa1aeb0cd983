"""The slim CVP-MVSNet for captures by hand: 64 planes uniform in inverse depth, group normalisation."""

model = dict(
    type="MultiViewStereo",
    num_levels=2,
    test_num_levels=3,
    data_preprocessor=dict(type="MultiViewPreprocessor"),
    backbone=dict(type="PyramidFeatures", channels=(16, 16, 16, 16, 16, 16)),
    head=dict(
        type="CostVolumePyramid",
        coarse_hypotheses=dict(type="UniformInverseDepth", num=64),
        fine_hypotheses=dict(type="PixelInterval", num=8, pixels=1.0),
        aggregator=dict(type="Variance"),
        regularizer=dict(type="HourglassRegularizer", channels=(8, 16, 32), norm="group"),
    ),
)
