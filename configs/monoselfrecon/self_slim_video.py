r"""self_slim.py on a posed video of your own, of any format (docs/scenes.md), in metres; no depth is needed.

    python tools/prepare_fragments.py PATH --out data/video/fragments --no-tsdf --keep-rest \
        --distance 0.08 --angle 15 --voxel-size 0.1 --max-depth 3.6
    python tools/train.py configs/monoselfrecon/self_slim_video.py --work-dir work_dirs/video \
        --cfg-options load_from=work_dirs/self_slim/epoch_18.pth

The weights of self_slim.py are where it starts: a single video is little to learn from.

Where the video has depth, tools/test.py measures the mesh with it; training does not read it.
"""

_base_ = ["./self_slim.py"]

train_dataloader = dict(sampler=dict(loose_epochs=16), dataset=dict(prepared="data/video/fragments", names=None))
test_dataloader = dict(dataset=dict(prepared="data/video/fragments", names=None))
val_dataloader, val_cfg, val_evaluator = None, None, None

optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=0, end=24, T_max=24, eta_min=1e-4, convert_to_iter_based=True),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=24, val_interval=24, _delete_=True)
default_hooks = dict(checkpoint=dict(interval=12))
custom_hooks = [dict(type="FusionPhaseHook", fusion_epoch=16)]
