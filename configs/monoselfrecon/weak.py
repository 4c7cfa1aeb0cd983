"""MonoSelfRecon on ScanNet with TSDF truth beside the images (weak supervision), both phases in one run."""

_base_ = [
    "../_base_/volumetric_runtime.py",
    "../_base_/models/monoselfrecon.py",
    "../_base_/datasets/fragments_unlabelled.py",
    "../_base_/schedules/monoselfrecon.py",
    "../_base_/losses/monoselfrecon.py",
]

model = dict(
    neck=dict(sparsifier=dict(_delete_=True, type="OccupancyThreshold", threshold=0.0)),
    heads=dict(_delete_=True, tsdf=dict(type="TSDFHead"), occupancy=dict(type="OccupancyHead")),
    losses=_base_.weakly_supervised_losses,
)
train_dataloader = dict(dataset=dict(read_tsdf=True))
custom_hooks = [dict(type="FusionPhaseHook", fusion_epoch=10)]
