"""The first phase of weak.py by itself: ten epochs, every fragment alone."""

_base_ = ["./weak.py"]

model = dict(neck=dict(fusion_on=False))
train_cfg = dict(max_epochs=10)
custom_hooks = []
