"""The second phase of weak.py by itself: from epoch 11 on, with memory.

python tools/train.py configs/monoselfrecon/weak_gru.py --resume work_dirs/weak_warmup/epoch_10.pth
"""

_base_ = ["./weak.py"]

custom_hooks = []
