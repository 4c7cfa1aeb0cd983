"""NeuralRecon at the paper's size (Sun et al., CVPR 2021): windows of 96 x 96 x 96 voxels of 4 cm, with corrected numerics.

Lists of levels are finest first. The memory is there from the start; FusionPhaseHook or fusion_on=False keeps it off.
"""

model = dict(
    type="VolumetricReconstructor",
    data_preprocessor=dict(type="FragmentPreprocessor"),
    # ImageNet weights are fetched where a training starts.
    backbone=dict(
        type="MnasNetFPN",
        weights="https://download.pytorch.org/models/mnasnet1.0_top1_73.512-f206786ef8.pth",
    ),
    neck=dict(
        type="CoarseToFine",
        networks=[dict(type="SPVCNN", width=width) for width in (0.25, 0.5, 1.0)],
        voxel_size=0.04,
        window=(96, 96, 96),
        back_projection=dict(view_fusion=dict(type="MeanViewFusion")),
        sparsifier=dict(type="OccupancyThreshold", threshold=0.0),
        max_voxels=(65536, 16384, 4096),
        fusion=dict(type="GRUFusion"),
    ),
    heads=dict(tsdf=dict(type="TSDFHead"), occupancy=dict(type="OccupancyHead")),
)
