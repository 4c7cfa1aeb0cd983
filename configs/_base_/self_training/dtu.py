"""The recipe of self-supervised CVP-MVSNet's second stage (Yang et al., CVPR 2021) on DTU.

The scans at full resolution (Rectified/scanN, 1600 x 1200) are reconstructed; the surface is rendered at the
resolution and cropping of the training images. The published code infers at 1600 x 1184; here any size will do.
"""

self_training = dict(
    iterations=2,
    inference=dict(
        max_size=1600,
        num_levels=5,
        num_sources=4,
        # Confidence 0.8, disparity 0.13 px, 3 views; Poisson; vertices under the 5 % quantile of the density removed.
        recipe=dict(preset="disparity_dtu", poisson_depth=11),
    ),
    labels=dict(source="mesh"),
    # All lightings of a scan (scan4_0 ... scan4_6) share its labels.
    shared=r"(scan\d+)_\d+",
    training=dict(model=dict(losses=dict(_delete_=True, label=dict(type="SupervisedDepthLoss")))),
)
