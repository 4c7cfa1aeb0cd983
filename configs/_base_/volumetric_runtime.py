"""As default_runtime, for fragments of video: the last checkpoints are kept, and there are no depth maps to show.

The memory's weights get no gradient while it is off, which processes that train together have to be told of.
"""

_base_ = ["./default_runtime.py"]

default_hooks = dict(checkpoint=dict(save_best=None), pictures=None)
find_unused_parameters = True
