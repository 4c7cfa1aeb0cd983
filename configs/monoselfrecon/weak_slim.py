"""self_slim.py with the rooms' TSDF beside their images (weak supervision); the same network but for its occupancy."""

_base_ = ["./self_slim.py"]

# Truth of 1 is the truncation distance of three voxels.
slim_options = dict(pairs=_base_.slim_pairs, sdf_scale=3 * _base_.window.voxel_size)

model = dict(
    neck=dict(sparsifier=dict(_delete_=True, type="OccupancyThreshold", threshold=0.0), max_voxels=(65536, 1024, 4096)),
    heads=dict(_delete_=True, tsdf=dict(type="TSDFHead"), occupancy=dict(type="OccupancyHead")),
    losses=dict(
        _delete_=True,
        truth=dict(type="WeakSupervisionLoss", pos_weight=1.5),
        photometric=dict(type="SDFConsistencyLoss", weight=0.1, **slim_options),
        planar=dict(type="SuperpixelPlanarLoss", **{**_base_.slim_planes, "weight": 0.002}, **slim_options),
    ),
)
train_dataloader = dict(dataset=dict(read_tsdf=True))
val_evaluator = dict(volume=dict(threshold=1.0))
test_evaluator = val_evaluator
reconstruction = dict(volume=dict(threshold=1.0))
