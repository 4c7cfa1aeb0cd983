"""MonoSelfRecon with the numerics of the published code, for published weights that were trained with TSDF truth.

Convert the weights first: python tools/convert_checkpoint.py monoselfrecon model_000020.ckpt weak_official.pth
The multiplane image is there for its weights; as published, no loss of this variant uses it.
"""

_base_ = ["./weak.py", "../_base_/models/monoselfrecon_published.py"]

model = dict(
    **_base_.published_numerics,
    heads=_base_.published_heads,
    losses=dict(
        truth=dict(published_bce_only=True),
        photometric=dict(published_sampling=True),
        planar=dict(published_sampling=True),
    ),
)
train_dataloader = dict(dataset=dict(published_resize=True, published_grid=True))
test_dataloader = dict(dataset=dict(published_resize=True))
test_evaluator = dict(volume=_base_.published_volume)
