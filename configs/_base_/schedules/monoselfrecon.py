"""The published schedule: as NeuralRecon's with a smaller learning rate, 30 epochs (10 of them without memory)."""

_base_ = ["./neuralrecon.py"]

optim_wrapper = dict(optimizer=dict(lr=3e-5))
train_cfg = dict(max_epochs=30)
