"""Everything that decides a fused result, in one object."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from toolbox.errors import UserError

METHODS = ("consistency", "disparity", "tsdf")
_REMEDY = "Correct it in the fusion recipe"
_SURFACE_SETTINGS = (
    "poisson_depth",
    "trim_quantile",
    "trim_distance",
    "tsdf_voxel",
    "tsdf_truncation",
    "tsdf_min_weight",
)


@dataclass(frozen=True)
class FusionRecipe:
    """How depth maps become points and a surface. Lengths are relative to the data, so that one recipe fits any unit.

    A *footprint* is the size of a pixel on the surface (depth / focal length); its median over the scene is the cloud's
    point spacing.

    Attributes:
        method: 'consistency' averages each pixel's depth over the source views that agree (MVSNet family), then
            screened Poisson; 'disparity' averages the points of views that agree in disparity (fusibile), then screened
            Poisson; 'tsdf' filters like 'consistency' and integrates the filtered depth maps into a signed distance
            volume.
        num_sources: source views that each reference is compared with (the first of its list).
        min_confidence: pixels need more than this (strict).
        max_reprojection_px: 'consistency', 'tsdf': forward-backward reprojection error in reference pixels (strict).
        max_relative_depth: 'consistency', 'tsdf': |difference| / depth after reprojection (strict).
        min_views: source views that must agree.
        disparity_threshold: 'disparity': |difference of disparities| in pixels of the reference (strict).
        disparity_pixel: 'disparity': where a source's own point lies: 'floor' at the next lower integer pixel, as
            published, which shifts slanted surfaces by half a pixel on average; 'exact' where the reference's point
            projects to.
        cloud_voxel: points of the cloud are merged in cells of this many footprints; 0 keeps a point per pixel.
        max_points: above it the cloud is merged in cells, growing from one footprint until it fits.
        surface_voxel: cells, in footprints, in which points are merged before normals and Poisson.
        normal_neighbours, normal_radius: neighbours of a normal's plane fit, at most, and how far, in point spacings.
        poisson_depth: octree depth; None takes the deepest whose cells are no smaller than the point spacing (5 to 11).
        trim_quantile: the Poisson surface's least supported vertices are removed (quantile of the density).
        trim_distance: Poisson vertices farther than this many point spacings from any point are removed.
        tsdf_voxel: edge in the scene's unit; None takes two footprints.
        tsdf_truncation: truncation of the signed distance, in voxels.
        tsdf_min_weight: depth observations that a voxel of the surface needs.
    """

    method: str = "consistency"
    num_sources: int = 10
    min_confidence: float = 0.5
    max_reprojection_px: float = 1.0
    max_relative_depth: float = 0.01
    min_views: int = 3
    disparity_threshold: float = 0.25
    disparity_pixel: str = "exact"
    cloud_voxel: float = 1.0
    max_points: int = 5_000_000
    surface_voxel: float = 2.0
    normal_neighbours: int = 100
    normal_radius: float = 6.0
    poisson_depth: int | None = None
    trim_quantile: float = 0.0
    trim_distance: float = 3.0
    tsdf_voxel: float | None = None
    tsdf_truncation: float = 4.0
    tsdf_min_weight: float = 1.0

    def __post_init__(self):
        if self.method not in METHODS:
            raise UserError(f"method='{self.method}'", "is no fusion method", f"Choose one of {', '.join(METHODS)}")
        if self.disparity_pixel not in ("floor", "exact"):
            raise UserError(f"disparity_pixel='{self.disparity_pixel}'", "is unknown", "Choose 'floor' or 'exact'")
        zero_allowed = {"min_confidence", "cloud_voxel", "surface_voxel", "trim_quantile", "tsdf_min_weight"}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) or value is None:
                continue
            if not (value >= 0 if field.name in zero_allowed else value > 0):
                raise UserError(f"{field.name}={value}", "must be positive", _REMEDY)
        for name in ("min_confidence", "max_relative_depth", "trim_quantile"):
            value = getattr(self, name)
            if value > 1 or (name == "trim_quantile" and value == 1):
                raise UserError(f"{name}={value}", "is a fraction and must not exceed 1", _REMEDY)
        if self.min_views > self.num_sources:
            raise UserError(
                f"min_views={self.min_views}",
                f"cannot be reached with num_sources={self.num_sources}",
                "Lower min_views or raise num_sources",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; ``from_dict`` gives the same recipe back."""
        return asdict(self)

    def cloud_settings(self) -> dict[str, Any]:
        """The settings that decide the cloud; the others decide the surface made from it."""
        return {name: value for name, value in asdict(self).items() if name not in _SURFACE_SETTINGS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FusionRecipe":
        """A recipe from plain values; what is not given keeps its default, or the value of the ``preset`` named.

        Raises:
            UserError: an unknown key or preset (names the nearest), or a value that makes no sense.
        """
        values = dict(values)
        preset = values.pop("preset", None)
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise UserError(f"'{key}'", "is no setting of a fusion recipe", _nearest(key, known))
        if preset is not None and preset not in PRESETS:
            raise UserError(f"preset='{preset}'", "no fusion recipe of that name", _nearest(preset, list(PRESETS)))
        types = {field.name: field.type for field in fields(cls)}
        typed = {key: _typed(key, value, types[key]) for key, value in values.items()}
        return replace(PRESETS[preset] if preset else cls(), **typed)

    def describe(self) -> str:
        """One line for logs and reports, naming every setting that the method uses."""
        parts = [f"{self.method}: {self.num_sources} sources, confidence > {self.min_confidence:g}"]
        if self.method == "disparity":
            parts.append(f"disparity < {self.disparity_threshold:g} px ({self.disparity_pixel} source pixel)")
        else:
            parts.append(
                f"reprojection < {self.max_reprojection_px:g} px, depth < {self.max_relative_depth:g} relative"
            )
        parts.append(f">= {self.min_views} views")
        merged = f"cells of {self.cloud_voxel:g} footprints" if self.cloud_voxel else "every point kept"
        parts.append(f"cloud: {merged}, <= {self.max_points} points")
        parts.append(
            f"normals: {self.normal_neighbours} neighbours within {self.normal_radius:g} spacings "
            f"of points merged in {self.surface_voxel:g} footprints"
        )
        if self.method == "tsdf":
            voxel = "auto" if self.tsdf_voxel is None else f"{self.tsdf_voxel:g}"
            parts.append(
                f"TSDF: voxel {voxel}, truncation {self.tsdf_truncation:g} voxels, weight >= {self.tsdf_min_weight:g}"
            )
        else:
            depth = "auto" if self.poisson_depth is None else f"{self.poisson_depth}"
            parts.append(
                f"Poisson: depth {depth}, trimmed under density quantile {self.trim_quantile:g} "
                f"and beyond {self.trim_distance:g} spacings"
            )
        return "; ".join(parts)


def _typed(key: str, value: object, kind: object) -> object:
    """The value as the setting's type; whole numbers may stand for real ones."""
    if isinstance(value, int) and not isinstance(value, bool) and kind in (float, float | None):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, kind):
        name = getattr(kind, "__name__", str(kind))
        raise UserError(f"{key}={value!r}", f"is no {name}", _REMEDY)
    return value


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
    return f"Nearest names: {', '.join(near)}"


# Published settings, of clouds that keep a point per pixel.
DTU = FusionRecipe(
    min_confidence=0.9,
    max_reprojection_px=0.5,
    max_relative_depth=0.01,
    min_views=3,
    cloud_voxel=0.0,
    max_points=100_000_000,
)
PATCHMATCHNET = replace(DTU, min_confidence=0.5, max_reprojection_px=1.0, min_views=5)
DISPARITY_DTU = replace(
    DTU,
    method="disparity",
    min_confidence=0.8,
    disparity_threshold=0.13,
    disparity_pixel="floor",
    trim_quantile=0.05,
)
DISPARITY_TANKS = replace(DISPARITY_DTU, min_confidence=0.94, disparity_threshold=0.20)
PRESETS = {
    "default": FusionRecipe(),
    "dtu": DTU,
    "patchmatchnet": PATCHMATCHNET,
    "disparity_dtu": DISPARITY_DTU,
    "disparity_tanks": DISPARITY_TANKS,
}
