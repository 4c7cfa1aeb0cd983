"""The second phase of self.py by itself: from epoch 11 on, with memory.

python tools/train.py configs/monoselfrecon/self_gru.py --resume work_dirs/self_warmup/epoch_10.pth
"""

_base_ = ["./self.py"]

custom_hooks = []
