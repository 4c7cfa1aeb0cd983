"""Networks: backbones, cost volumes, losses, and the reconstructors assembled from them."""
