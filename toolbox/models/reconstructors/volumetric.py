"""Fragments of posed video -> signed distances at sparse voxels."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from mmengine.model import BaseModel
from torch import Tensor, nn

from toolbox.errors import UserError
from toolbox.registry import BACKBONES, HEADS, LOSSES, MODELS, NECKS
from toolbox.structures import FragmentBatch, VolumetricPrediction

Config = dict[str, Any]
VOXEL_HEADS = ("tsdf", "occupancy")


@MODELS.register_module()
class VolumetricReconstructor(BaseModel):
    """A backbone, a coarse-to-fine neck, heads and losses (NeuralRecon, MonoSelfRecon, or what a config makes of them).

    Fragments of one scene are given in their order, one at a time, where the neck has a memory. A fragment whose
    ``meta`` says that it is its scene's first, or names another scene than the one before, or says nothing, starts
    anew.

    Args:
        backbone: from BACKBONES, with a level for each of the neck's.
        neck: from NECKS; gets ``image_channels``.
        heads: from HEADS: 'tsdf', perhaps 'occupancy', and any others: those work in images, and are called where
            losses are computed, if a loss names them as its ``output``.
        losses: from LOSSES, by the name each is logged under (prefixed with 'loss_'); called with
            (``VolumetricPrediction``, ``FragmentBatch``).
        data_preprocessor: from MODELS.
        init_cfg: mmengine's.

    Raises:
        UserError: there is no head named 'tsdf'.
    """

    def __init__(
        self,
        backbone: Config,
        neck: Config,
        heads: dict[str, Config] | None = None,
        losses: dict[str, Config] | None = None,
        data_preprocessor: Config | None = None,
        init_cfg: Config | None = None,
    ):
        super().__init__(MODELS.build(data_preprocessor or {"type": "FragmentPreprocessor"}), init_cfg)
        self.backbone = BACKBONES.build(backbone)
        self.neck = NECKS.build({**neck, "image_channels": self.backbone.out_channels})
        self.heads = nn.ModuleDict()
        for name, cfg in (heads if heads is not None else {"tsdf": {"type": "TSDFHead"}}).items():
            channels = {"channels": self.neck.channels} if name in VOXEL_HEADS else self._image_channels(name)
            self.heads[name] = HEADS.build({**cfg, **channels})
        if "tsdf" not in self.heads:
            raise UserError("heads", f"have no 'tsdf' (but: {', '.join(self.heads)})", "Add tsdf=dict(type='TSDFHead')")
        self.losses = nn.ModuleDict({name: LOSSES.build(cfg) for name, cfg in (losses or {}).items()})
        self._previous: FragmentBatch | None = None

    def _image_channels(self, name: str) -> dict[str, tuple[int, ...]]:
        channels = getattr(self.backbone, "encoder_channels", None)
        if channels is None:
            raise UserError(
                f"heads.{name}",
                f"needs an encoder's features, which {type(self.backbone).__name__} does not give",
                "Use ResNet18FPN or MnasNetFPN",
            )
        return {"encoder_channels": channels}

    def forget(self) -> None:
        """Start a new scene."""
        self._previous = None
        self.neck.forget()

    def memory(self) -> dict[str, Any]:
        """What it knows of the scene so far but for the last fragment, as tensors; empty without a memory."""
        return self.neck.fusion.memory() if self.neck.remembers else {}

    def recall(self, memory: Mapping[str, Any], last: Mapping[str, Any]) -> None:
        """Go on in a scene from what ``memory`` gave.

        Args:
            last: the data set's sample of the last fragment of then.
        """
        self.forget()
        if self.neck.remembers:
            batch = self.data_preprocessor([last])["batch"]
            self.neck.fusion.recall(memory, batch.images.device)
            self._previous = batch

    def reconstruct(self, batch: FragmentBatch) -> VolumetricPrediction:
        """TSDF of the windows of some fragments; a memory, where there is one, goes on from the fragment before."""
        if not self._goes_on(batch):
            self.forget()
        num_views, size = batch.images.shape[1], tuple(batch.images.shape[-2:])
        encoded = self.backbone.encode(batch.images.flatten(0, 1))
        features = [level.unflatten(0, (-1, num_views)) for level in self.backbone.decode(encoded, size)]
        strides = [self.backbone.finest_stride * 2**level for level in range(len(features))]
        prediction = self.neck(features, strides, self.backbone.half_pixel, batch, self.heads, self._previous)
        prediction.image_features = [level.unflatten(0, (-1, num_views)) for level in encoded]
        self._previous = batch if self.neck.remembers else None
        return prediction

    def _goes_on(self, batch: FragmentBatch) -> bool:
        """Whether the batch is the next fragment of the scene that the memory holds."""
        if self._previous is None or not batch.meta or not self._previous.meta:
            return False
        here, before = batch.meta[0], self._previous.meta[0]
        return "scene" in here and not here.get("first", False) and here["scene"] == before.get("scene")

    def forward(self, batch: FragmentBatch, mode: str = "tensor") -> Any:
        """'loss': a dict of named losses; 'predict': a list of dicts for metrics; 'tensor': the prediction."""
        prediction = self.reconstruct(batch)
        if mode == "tensor":
            return prediction
        if mode == "loss":
            return self._losses(prediction, batch)
        if mode == "predict":
            return self._samples(prediction, batch)
        raise ValueError(f"mode is 'loss', 'predict' or 'tensor', not '{mode}'")

    def _losses(self, prediction: VolumetricPrediction, batch: FragmentBatch) -> dict[str, Float[Tensor, ""]]:
        wanted = {getattr(loss, "output", None) for loss in self.losses.values()}
        for name, head in self.heads.items():
            if name in wanted:
                prediction.outputs[name] = head(prediction, batch)
        return {f"loss_{name}": loss(prediction, batch) for name, loss in self.losses.items()}

    def _samples(self, prediction: VolumetricPrediction, batch: FragmentBatch) -> list[dict[str, Any]]:
        """One dict per sample, on the CPU: what metrics and scene volumes take."""
        samples = []
        for i in range(len(batch.images)):
            surface = prediction.surface.of_sample(i)
            samples.append(
                {
                    "coords": surface.coords[:, 1:].cpu(),
                    "tsdf": surface.tsdf.detach().cpu(),
                    "origin": batch.origin[i].cpu(),
                    "window": self.neck.window,
                    "voxel_size": surface.voxel_size,
                    "volume_to_scene": None if batch.volume_to_scene is None else batch.volume_to_scene[i].cpu(),
                    "meta": batch.meta[i] if batch.meta else {},
                }
            )
        return samples
