"""Losses of MonoSelfRecon; a config takes its own by ``model = dict(losses=dict(_delete_=True, **_base_.NAME))``.

docs/volumetric_losses.md says what each term is. Each weight is the published one.
"""

# Self-supervision: photometric + 0.05 * planar, and the terms of the multiplane image with weight 1 each (0.5 for the
# edges), which need heads=dict(mpi=dict(type="MPIHead")).
self_supervised_losses = dict(
    photometric=dict(type="SDFConsistencyLoss"),
    planar=dict(type="SuperpixelPlanarLoss", weight=0.05),
    mpi_disparity=dict(type="MPIDisparityLoss"),
    mpi_colour=dict(type="MPIColourLoss"),
    mpi_ssim=dict(type="MPISSIMLoss"),
    mpi_smooth=dict(type="MPISmoothnessLoss"),
    mpi_edge=dict(type="MPIEdgeLoss", weight=0.5),
)

_weak_pairs = dict(max_distance=None, seam_views=3, seam_distance=4)

# Weak supervision: truth + 0.1 * (photometric + 0.05 * planar).
weakly_supervised_losses = dict(
    truth=dict(type="WeakSupervisionLoss", pos_weight=1.5),
    photometric=dict(type="SDFConsistencyLoss", weight=0.1, pairs=_weak_pairs),
    planar=dict(type="SuperpixelPlanarLoss", weight=0.005, pairs=_weak_pairs),
)

# NeuralRecon: truth alone.
neuralrecon_losses = dict(truth=dict(type="WeakSupervisionLoss", pos_weight=1.5, level_weights=(0.64, 0.8, 1.0)))
