"""As self_official.py, for published weights of the first phase, which have no memory."""

_base_ = ["./self_official.py"]

model = dict(
    neck=dict(fusion=None),
    losses=dict(photometric=dict(pairs=dict(max_distance=5)), planar=dict(pairs=dict(max_distance=5))),
)
train_cfg = dict(max_epochs=10)
custom_hooks = []
