"""The published numerics of MonoSelfRecon (docs/volumetric.md), taken by ``model = dict(**_base_.published_numerics, ...)``.

Published weights have an occupancy head, used or not, and a multiplane image with outputs at two levels.
"""

published_numerics = dict(
    backbone=dict(published_scale=True),
    neck=dict(
        back_projection=dict(view_fusion=dict(published_double_division=True), published_depth_norm=True),
        fusion=dict(published_scrambled_rows=True),
    ),
)
published_heads = dict(
    _delete_=True,
    tsdf=dict(type="TSDFHead"),
    occupancy=dict(type="OccupancyHead"),
    mpi=dict(type="MPIHead", decoder=dict(output_levels=(0, 1))),
)
published_volume = dict(threshold=0.3, published_forgetting=True, published_closing=True)
