"""A slim MonoSelfRecon that trains on two CPU cores, on procedural rooms, from images alone; both phases.

Voxels are 2.5 times larger than the paper's and images half of its size, so the band that keeps voxels is wider.
No weights of ImageNet are needed. docs/volumetric_training.md says what was tried, and has the numbers.

    python tools/train.py configs/monoselfrecon/self_slim.py --work-dir work_dirs/self_slim
    python tools/test.py configs/monoselfrecon/self_slim.py work_dirs/self_slim/epoch_18.pth

configs/_base_/datasets/rooms.py says how the rooms are made.
"""

_base_ = [
    "../_base_/volumetric_runtime.py",
    "../_base_/datasets/rooms.py",
    "../_base_/losses/monoselfrecon.py",
]

slim_pairs = dict(max_distance=5, seam_views=None, seam_distance=5)
# Few voxels make planes of few points: none at the coarsest level, and less than half of the published weight.
slim_planes = dict(weight=0.02, level_weights=(0.26, 0.33, 0.0), min_points=100)

model = dict(
    type="VolumetricReconstructor",
    data_preprocessor=dict(type="FragmentPreprocessor"),
    backbone=dict(type="ResNet18FPN", width=32, channels=16),
    neck=dict(
        type="CoarseToFine",
        networks=[dict(type="SPVCNN", width=width, blocks=1, running_stats=False) for width in (0.25, 0.25, 0.5)],
        voxel_size=_base_.window.voxel_size,
        window=_base_.window.shape,
        back_projection=dict(view_fusion=dict(type="AttentionViewFusion", num_layers=1, variance=True)),
        sparsifier=dict(type="TSDFBand", threshold=0.6),
        max_voxels=(65536, 1024, 4096),
        residual=True,
        keep_unseen=False,
        fusion=dict(type="GRUFusion", gate_alone=True),
    ),
    heads=dict(
        tsdf=dict(type="TSDFHead"),
        mpi=dict(
            type="MPIHead",
            num_planes=8,
            decoder=dict(channels=(8, 8, 16), context_channels=(32, 32, 32, 16), frequencies=6, output_levels=(2,)),
        ),
    ),
    losses={
        **_base_.self_supervised_losses,
        "photometric": dict(type="SDFConsistencyLoss", pairs=slim_pairs),
        "planar": dict(type="SuperpixelPlanarLoss", **slim_planes, pairs=slim_pairs),
    },
)

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=3e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=0, end=18, T_max=18, eta_min=1e-4, convert_to_iter_based=True),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=18, val_interval=2)
custom_hooks = [dict(type="FusionPhaseHook", fusion_epoch=13)]

# The surface is where voxels of the finest level say so; they mean metres.
val_evaluator = dict(volume=dict(threshold=0.6))
test_evaluator = val_evaluator

# Defaults of tools/reconstruct.py.
reconstruction = dict(
    size=(240, 320),
    window=dict(max_depth=_base_.window.max_depth),
    volume=dict(threshold=0.6),
    keyframes=dict(min_distance=0.1),
)
