"""CVP-MVSNet with the numerics of its published code: published checkpoints give the published outputs.

Each option named ``published_*`` reproduces one deviation from the paper; see docs/published_numerics.md.
"""

_base_ = ["./cvp_mvsnet.py"]

model = dict(
    head=dict(
        coarse_hypotheses=dict(published_shared_range=True),
        fine_hypotheses=dict(published_interval=True),
        train_fine_hypotheses=dict(type="FixedInterval", num=8, interval=6.8085, clamp=False),
        warper=dict(published_sampling=True),
        aggregator=dict(published_aliasing=True),
        published_intrinsics=True,
    ),
    losses=dict(depth=dict(min_depth=425.0, published_pyramid=True)),
)
