"""Losses of an unsupervised start; a config takes its own by ``model = dict(losses=dict(_delete_=True, **_base_.NAME))``.

docs/losses.md says what each term is.
"""

# JDACS-MS (Xu et al., AAAI 2021), which trains CVP-MVSNet's network: 12 * (0.5 * colour + 0.5 * gradient, summed over the
# 3 best sources) + 6 * SSIM (summed over two sources) + 0.05 * smoothness. Means are taken here, hence 36 and 12.
jdacs_ms_losses = dict(
    colour=dict(type="ViewSynthesisLoss", errors=dict(smooth_l1=0.5, smooth_l1_gradient=0.5), k=3, weight=36.0),
    ssim=dict(type="ViewSynthesisLoss", errors="ssim", k=2, weight=12.0),
    smooth=dict(type="DepthSmoothnessLoss", weight=0.05),
)

# For captures of a room or a thing by hand, with a slim network.
slim_losses = dict(
    photo=dict(type="ViewSynthesisLoss", errors=dict(l1=0.15, gradient=0.5, ssim=0.85), k=2),
    smooth=dict(type="DepthSmoothnessLoss", order=2, weight=0.2),
)
