"""Posed images -> depth of the reference view."""

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from mmengine.model import BaseModel
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.geometry import resample_dense, scale_intrinsics
from toolbox.models.losses.multi_level import images_at_level
from toolbox.models.losses.synthesis import shared_level_views
from toolbox.registry import BACKBONES, COST_VOLUMES, LOSSES, MODELS
from toolbox.structures import DepthPrediction, MultiViewBatch

Config = dict[str, Any]
ViewFeatures = list[Tensor]


@MODELS.register_module()
class MultiViewStereo(BaseModel):
    """A backbone, a cost-volume head and losses (CVP-MVSNet, MVSNet, or what a config makes of the parts).

    Args:
        backbone: from BACKBONES.
        head: from COST_VOLUMES; gets the backbone's number of channels.
        losses: from LOSSES, by the name each is logged under (prefixed with 'loss_').
        num_levels: pyramid levels in training.
        test_num_levels: pyramid levels in inference where the caller does not say; None is ``num_levels``.
        test_downscale: in mode 'predict', images are reduced so many times before the network sees them, and the depth
            is resized to their grid: for poses or images that are not sharp enough for their resolution.
        pose_refiner: from MODELS; in inference, refines the sources' poses before the final depth. None trusts them.
        data_preprocessor: from MODELS.
        init_cfg: mmengine's.
    """

    def __init__(
        self,
        backbone: Config,
        head: Config,
        losses: dict[str, Config] | None = None,
        num_levels: int = 2,
        test_num_levels: int | None = None,
        test_downscale: int = 1,
        pose_refiner: Config | None = None,
        data_preprocessor: Config | None = None,
        init_cfg: Config | None = None,
    ):
        super().__init__(MODELS.build(data_preprocessor or {"type": "MultiViewPreprocessor"}), init_cfg)
        self.backbone = BACKBONES.build(backbone)
        self.head = COST_VOLUMES.build({**head, "feature_channels": self.backbone.out_channels})
        self.losses = {name: LOSSES.build(cfg) for name, cfg in (losses or {}).items()}
        self.pose_refiner = MODELS.build(pose_refiner) if pose_refiner else None
        self.num_levels = num_levels
        self.test_num_levels = test_num_levels or num_levels
        self.test_downscale = test_downscale

    def size_divisor(self, num_levels: int) -> int:
        """Height and width are padded to a multiple of it."""
        return self.backbone.finest_stride * 2 ** (num_levels - 1) * self.head.size_divisor

    def extract_features(self, images: Float[Tensor, "n 3 h w"], num_levels: int | None = None) -> ViewFeatures:
        """Features of single views, finest level first; to be computed once per view and used for every reference.

        Images of any size are padded to a multiple of ``size_divisor`` on the right and below.
        """
        num_levels = num_levels or self.test_num_levels
        height, width = images.shape[-2:]
        divisor = self.size_divisor(num_levels)
        pad_h, pad_w = -height % divisor, -width % divisor
        if pad_h or pad_w:
            images = F.pad(images, (0, pad_w, 0, pad_h), mode="replicate")
        return self.backbone(images, num_levels)

    def predict_from_features(
        self,
        features: list[ViewFeatures],
        intrinsics: Float[Tensor, "b v 3 3"],
        world_to_cam: Float[Tensor, "b v 4 4"],
        depth_range: Float[Tensor, "b 2"],
        image_size: tuple[int, int],
        keep_details: bool = False,
        images: list[Float[Tensor, "b 3 h w"]] | None = None,
        tile_size: int | None = None,
        consume: bool = False,
    ) -> DepthPrediction:
        """Depth of the reference (view 0) from the features of all views; ``image_size`` is before padding.

        Args:
            images: of each view in [0, 1], which a model with a pose refiner needs; others leave them alone.
            tile_size: in inference, cost volumes in overlapping tiles of so many pixels a side, at most: images beyond
                memory; see ``CostVolumePyramid``. None does each level at once.
            consume: empty the lists of features on the way, which then take no memory any more.
        """
        stride = self.backbone.finest_stride
        padded = tuple(stride * n for n in features[0][0].shape[-2:])
        if self.pose_refiner is not None and not self.training:
            if images is None:
                raise ValueError("a model with a pose refiner needs the images")
            world_to_cam = self._refined_poses(features, intrinsics, world_to_cam, depth_range, padded, images)
        cameras = intrinsics, world_to_cam, depth_range, padded, self.backbone.half_pixel
        prediction = self.head(features, *cameras, keep_details, tile_size, consume)
        return self._cropped(prediction, intrinsics[:, 0], image_size)

    def _refined_poses(
        self,
        features: list[ViewFeatures],
        intrinsics: Float[Tensor, "b v 3 3"],
        world_to_cam: Float[Tensor, "b v 4 4"],
        depth_range: Float[Tensor, "b 2"],
        padded: tuple[int, int],
        images: list[Float[Tensor, "b 3 h w"]],
    ) -> Float[Tensor, "b v 4 4"]:
        """Depth of the coarser levels and poses, in turns."""
        sizes = [max(level.shape[-2:]) for level in features[0]]
        first = next((i for i, size in enumerate(sizes) if size <= self.pose_refiner.max_size), len(sizes) - 1)
        coarse = [view[first:] for view in features]
        resized = None
        for _ in range(self.pose_refiner.rounds):
            prediction = self.head(coarse, intrinsics, world_to_cam, depth_range, padded, self.backbone.half_pixel)
            depth, grid = prediction.depths[0], prediction.intrinsics[0]
            if resized is None:
                stacked = torch.stack(images, dim=1).float()
                resized = images_at_level(stacked, intrinsics, grid, tuple(depth.shape[-2:]))
            world_to_cam = self.pose_refiner(resized, depth, grid, world_to_cam)
        return world_to_cam

    def predict_depth(
        self,
        batch: MultiViewBatch,
        num_levels: int | None = None,
        keep_details: bool = False,
        tile_size: int | None = None,
    ) -> DepthPrediction:
        """Depth of each sample's reference view; ``tile_size`` as in ``predict_from_features``."""
        num_views = batch.images.shape[1]
        if num_views < 2:
            raise UserError("images", "multi-view stereo needs at least one source view", "Give two or more views")
        if self.training:
            stacked = self.extract_features(batch.images.flatten(0, 1), num_levels or self.num_levels)
            per_level = [level.unflatten(0, (-1, num_views)) for level in stacked]
            features = [[level[:, view] for level in per_level] for view in range(num_views)]
        else:
            features = [self.extract_features(batch.images[:, view], num_levels) for view in range(num_views)]
        size = tuple(batch.images.shape[-2:])
        images = list(batch.images.unbind(dim=1))
        cameras = batch.intrinsics, batch.world_to_cam, batch.depth_range
        return self.predict_from_features(features, *cameras, size, keep_details, images, tile_size, consume=True)

    def forward(self, batch: MultiViewBatch, mode: str = "tensor") -> Any:
        """'loss': a dict of named losses; 'predict': a list of dicts for metrics; 'tensor': the DepthPrediction."""
        if mode == "predict" and self.test_downscale > 1:
            return self._samples(self.predict_depth(_reduced(batch, self.test_downscale)), batch)
        prediction = self.predict_depth(batch)
        if mode == "tensor":
            return prediction
        if mode == "loss":
            with shared_level_views():
                return {f"loss_{name}": self._loss(loss, prediction, batch) for name, loss in self.losses.items()}
        if mode == "predict":
            return self._samples(prediction, batch)
        raise ValueError(f"mode is 'loss', 'predict' or 'tensor', not '{mode}'")

    def _loss(self, loss: nn.Module, prediction: DepthPrediction, batch: MultiViewBatch) -> Float[Tensor, ""]:
        """One loss; the network goes to those that ask for another pass (``needs_predictor``)."""
        if getattr(loss, "needs_predictor", False):
            return loss(prediction, batch, self.predict_depth)
        return loss(prediction, batch)

    def _samples(self, prediction: DepthPrediction, batch: MultiViewBatch) -> list[dict[str, Any]]:
        """One dict per sample, on the CPU: what the metrics and the pictures take."""
        size = tuple(batch.images.shape[-2:])
        depth = image_depth(prediction, batch.intrinsics[:, 0], size)
        confidence = prediction.confidence
        if confidence.shape[-2:] != size:
            confidence = resample_dense(confidence, prediction.intrinsics[0][:, 0], batch.intrinsics[:, 0], size)
        return [
            {
                "depth": depth[i].cpu(),
                "depth_levels": [level[i].cpu() for level in prediction.depths],
                "confidence": confidence[i].cpu(),
                "gt_depth": None if batch.depth is None else batch.depth[i].cpu(),
                "depth_range": batch.depth_range[i].cpu(),
                "image": batch.images[i, 0].cpu(),
                "meta": batch.meta[i] if batch.meta else {},
            }
            for i in range(depth.shape[0])
        ]

    def _cropped(
        self, prediction: DepthPrediction, image_intrinsics: Float[Tensor, "b 3 3"], image_size: tuple[int, int]
    ) -> DepthPrediction:
        """The prediction without what padding added; its confidence on the image's grid."""

        def crop(values: Tensor, level: int = 0) -> Tensor:
            stride = self.backbone.finest_stride * 2**level
            return values[..., : math.ceil(image_size[0] / stride), : math.ceil(image_size[1] / stride)]

        confidence = crop(prediction.confidence)
        if confidence.shape[-2:] != image_size:
            confidence = resample_dense(confidence, prediction.intrinsics[0][:, 0], image_intrinsics, image_size)
        return DepthPrediction(
            depths=[crop(depth, level) for level, depth in enumerate(prediction.depths)],
            intrinsics=prediction.intrinsics,
            confidence=confidence,
            probabilities=None if prediction.probabilities is None else crop(prediction.probabilities),
            hypotheses=prediction.hypotheses
            and [crop(hypotheses, level) for level, hypotheses in enumerate(prediction.hypotheses)],
        )


def _reduced(batch: MultiViewBatch, factor: int) -> MultiViewBatch:
    """The batch with every pixel the mean of ``factor`` squared ones; the edge is continued to a full block."""
    images = batch.images.flatten(0, 1)
    height, width = images.shape[-2:]
    images = F.avg_pool2d(F.pad(images, (0, -width % factor, 0, -height % factor), mode="replicate"), factor)
    return replace(
        batch,
        images=images.unflatten(0, batch.images.shape[:2]),
        intrinsics=scale_intrinsics(batch.intrinsics, 1 / factor, 1 / factor),
        depth=None,
    )


def image_depth(
    prediction: DepthPrediction, image_intrinsics: Float[Tensor, "b 3 3"], image_size: tuple[int, int]
) -> Float[Tensor, "b h w"]:
    """The finest depth on the image's grid (bilinear where the finest level is coarser than the image)."""
    depth = prediction.depths[0]
    if depth.shape[-2:] == image_size:
        return depth
    return resample_dense(depth, prediction.intrinsics[0][:, 0], image_intrinsics, image_size)
