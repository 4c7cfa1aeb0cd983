"""DTU without its depth: no depth file is opened in training. Validation and test measure with it, where it is there."""

_base_ = ["./dtu.py"]

train_dataloader = dict(dataset=dict(read_depth=False, scenes=dict(depth=False)))
