"""The published schedule: Adam, 50 epochs (20 of them without memory), the learning rate halved after 12, 24 and 48."""

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="Adam", lr=1e-3, betas=(0.9, 0.999)),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = dict(type="MultiStepLR", by_epoch=True, milestones=[12, 24, 48], gamma=0.5)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=50)
