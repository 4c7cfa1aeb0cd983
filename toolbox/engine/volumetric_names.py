"""Names of the weights of NeuralRecon and MonoSelfRecon: theirs -> ours."""

_VIEW_ATTENTION = {
    "norm1": "norm1",
    "attn.in_proj_": "qkv.",
    "attn.out_proj": "projection",
    "norm2": "norm2",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
}


def view_attention_names(num_layers: int = 2) -> dict[str, str]:
    """Published names of one level's transformer over views -> names in ``AttentionViewFusion``."""
    names = {}
    for layer in range(num_layers):
        for published, ours in _VIEW_ATTENTION.items():
            for kind in ("weight", "bias"):
                theirs = f"{published}{kind}" if published.endswith("_") else f"{published}.{kind}"
                own = f"{ours}{kind}" if ours.endswith(".") else f"{ours}.{kind}"
                names[f"encoder_layers.{layer}.{theirs}"] = f"layers.{layer}.{own}"
    return names
