"""CVP-MVSNet on DTU: the paper's network, data and schedule, with corrected numerics."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/cvp_mvsnet.py",
    "../_base_/datasets/dtu.py",
    "../_base_/schedules/cvp_mvsnet.py",
]
