"""NeuralRecon with the numerics of the published code, for its published weights.

Convert the weights first: python tools/convert_checkpoint.py neuralrecon model_000047.ckpt neuralrecon_official.pth
"""

_base_ = ["./neuralrecon.py"]

model = dict(
    backbone=dict(published_mean=True),
    neck=dict(back_projection=dict(published_depth_norm=True), fusion=dict(published_scrambled_rows=True)),
)
train_dataloader = dict(dataset=dict(published_resize=True, published_grid=True))
test_dataloader = dict(dataset=dict(published_resize=True))
test_evaluator = dict(volume=dict(threshold=1.0, published_forgetting=True, published_closing=True))
