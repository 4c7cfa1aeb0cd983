"""The paper's schedule: Adam, 40 epochs, the learning rate halved after epochs 10, 12, 14 and 20."""

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3, betas=(0.9, 0.999)))
param_scheduler = dict(type="MultiStepLR", by_epoch=True, milestones=[10, 12, 14, 20], gamma=0.5)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=40, val_interval=1)
val_cfg = dict()
test_cfg = dict()
