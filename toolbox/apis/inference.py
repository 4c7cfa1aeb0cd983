"""A network from its config, and depth from it."""

from pathlib import Path

import torch
from jaxtyping import Float
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor

from toolbox.engine import build_model, load_config
from toolbox.errors import UserError
from toolbox.structures import DepthPrediction, MultiViewBatch


def init_model(
    config: str | Path | Config, checkpoint: str | Path | None = None, device: str | torch.device | None = None
) -> BaseModel:
    """Build the network of a config, load its weights, and make it ready for inference.

    Args:
        config: path of a config file, or a config.
        checkpoint: weights in the toolbox's format (published ones: tools/convert_checkpoint.py); None keeps the random
            start.
        device: None takes the GPU where there is one.

    Returns:
        The model in evaluation mode, with its config as ``model.cfg``: a ``MultiViewStereo``, a
        ``VolumetricReconstructor``, or whatever the config names.

    Raises:
        UserError: the config or the checkpoint cannot be read, or do not belong together.
    """
    config = load_config(config) if isinstance(config, (str, Path)) else config
    model = build_model(config, checkpoint, device)
    model.cfg = config
    return model


@torch.no_grad()
def infer_depth(
    model: BaseModel,
    images: Float[Tensor, "b v 3 h w"],
    intrinsics: Float[Tensor, "b v 3 3"],
    world_to_cam: Float[Tensor, "b v 4 4"],
    depth_range: Float[Tensor, "b 2"],
    num_levels: int | None = None,
    tile_size: int | None = None,
) -> DepthPrediction:
    """Depth of view 0 of each sample.

    Args:
        images: RGB in [0, 1]; any size.
        intrinsics: in pixels of the images, the top-left pixel centred at (0, 0).
        world_to_cam: OpenCV axes.
        depth_range: (near, far), 0 < near < far, in the unit of the poses' translations.
        num_levels: pyramid levels; free: a network trained with 2 can be used with 5. None takes the config's.
        tile_size: for images beyond memory: cost volumes in overlapping tiles of so many pixels a side, at most. The
            depth is the same but for rounding, unless the network normalises by statistics of the volume at hand
            (norm='group'). None takes the whole image at once.

    Returns:
        Depths finest first in the poses' unit, and the confidence, on the model's device.

    Raises:
        UserError: shapes do not agree, values are not finite, a depth range is empty, or the network gives no depth.
    """
    if not hasattr(model, "predict_depth"):
        raise UserError(
            f"infer_depth: {type(model).__name__}", "gives no depth maps", "Use reconstruct_scene, or another network"
        )
    check_inputs(images, intrinsics, world_to_cam, depth_range)
    weight = next(model.parameters())
    images, intrinsics, depth_range = (values.to(weight) for values in (images, intrinsics, depth_range))
    # Poses stay in double precision: only their differences count, and the world's origin may be far away.
    batch = MultiViewBatch(images, intrinsics, world_to_cam.to(weight.device, torch.float64), depth_range)
    training = model.training
    model.eval()
    try:
        return model.predict_depth(batch, num_levels, tile_size=tile_size)
    finally:
        model.train(training)


def check_inputs(images: Tensor, intrinsics: Tensor, world_to_cam: Tensor, depth_range: Tensor) -> None:
    """Raise UserError naming the first input of ``infer_depth`` whose shape or values make no sense."""
    batch, views = images.shape[:2]
    expected = {
        "images": (images, (batch, views, 3, *images.shape[-2:])),
        "intrinsics": (intrinsics, (batch, views, 3, 3)),
        "world_to_cam": (world_to_cam, (batch, views, 4, 4)),
        "depth_range": (depth_range, (batch, 2)),
    }
    for name, (value, shape) in expected.items():
        if tuple(value.shape) != shape:
            raise UserError(name, f"has the shape {tuple(value.shape)}", f"Give {shape}, as the images ask for")
        if not torch.isfinite(value).all():
            raise UserError(name, "holds values that are not finite", "Leave such views out")
    if not ((depth_range[:, 0] > 0) & (depth_range[:, 0] < depth_range[:, 1])).all():
        raise UserError("depth_range", f"is {depth_range.tolist()}", "Give 0 < near < far for each sample")
