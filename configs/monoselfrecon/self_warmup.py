"""The first phase of self.py by itself: ten epochs, every fragment alone."""

_base_ = ["./self.py"]

model = dict(
    neck=dict(fusion_on=False),
    losses=dict(photometric=dict(pairs=dict(max_distance=5)), planar=dict(pairs=dict(max_distance=5))),
)
train_cfg = dict(max_epochs=10)
custom_hooks = []
