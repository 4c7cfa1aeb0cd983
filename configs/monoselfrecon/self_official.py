"""MonoSelfRecon with the numerics of the published code, for published weights that were trained without ground truth.

Convert the weights first: python tools/convert_checkpoint.py monoselfrecon model_000028.ckpt self_official.pth
Weights of the first phase, without a memory, go with self_warmup_official.py.
"""

_base_ = ["./self.py", "../_base_/models/monoselfrecon_published.py"]

model = dict(
    backbone=_base_.published_numerics.backbone,
    neck=dict(**_base_.published_numerics.neck, carry_occupancy=False),
    heads=_base_.published_heads,
    losses=dict(photometric=dict(published_sampling=True), planar=dict(published_sampling=True)),
)
train_dataloader = dict(dataset=dict(published_resize=True))
test_dataloader = dict(dataset=dict(published_resize=True))
test_evaluator = dict(volume=_base_.published_volume)
