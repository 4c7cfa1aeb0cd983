import json
from dataclasses import fields, replace

import pytest

from toolbox.errors import UserError
from toolbox.fusion import DISPARITY_DTU, DISPARITY_TANKS, DTU, PATCHMATCHNET, PRESETS, FusionRecipe


@pytest.mark.parametrize("recipe", PRESETS.values(), ids=PRESETS)
def test_round_trip_through_json(recipe):
    assert FusionRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert set(recipe.to_dict()) == {f.name for f in fields(FusionRecipe)}


def test_published_settings():
    assert (DTU.min_confidence, DTU.max_reprojection_px, DTU.max_relative_depth, DTU.min_views) == (0.9, 0.5, 0.01, 3)
    assert (PATCHMATCHNET.min_confidence, PATCHMATCHNET.max_reprojection_px, PATCHMATCHNET.min_views) == (0.5, 1.0, 5)
    assert (DISPARITY_DTU.min_confidence, DISPARITY_DTU.disparity_threshold, DISPARITY_DTU.min_views) == (0.8, 0.13, 3)
    assert (DISPARITY_TANKS.min_confidence, DISPARITY_TANKS.disparity_threshold) == (0.94, 0.20)
    assert DISPARITY_TANKS.method == DISPARITY_DTU.method == "disparity"
    assert all(recipe.cloud_voxel == 0 for recipe in (DTU, PATCHMATCHNET, DISPARITY_DTU, DISPARITY_TANKS))


def test_preset_with_changes():
    recipe = FusionRecipe.from_dict({"preset": "disparity_dtu", "min_views": 2, "cloud_voxel": 1})
    assert recipe == replace(DISPARITY_DTU, min_views=2, cloud_voxel=1.0)
    assert FusionRecipe.from_dict({}) == FusionRecipe()


@pytest.mark.parametrize(
    "values, message",
    [
        ({"max_reprojecton_px": 1.0}, "'max_reprojecton_px'.*Nearest names: max_reprojection_px"),
        ({"preset": "dtuu"}, "preset='dtuu'.*Nearest names: dtu"),
        ({"method": "poisson"}, "method='poisson'.*Choose one of consistency, disparity, tsdf"),
        ({"disparity_pixel": "round"}, "Choose 'floor' or 'exact'"),
        ({"min_views": 0}, "min_views=0.*must be positive"),
        ({"max_relative_depth": float("nan")}, "max_relative_depth=nan.*must be positive"),
        ({"max_relative_depth": 1.5}, "max_relative_depth=1.5.*must not exceed 1"),
        ({"min_confidence": 2}, "min_confidence=2.0.*must not exceed 1"),
        ({"trim_quantile": 1}, "trim_quantile=1.0.*must not exceed 1"),
        ({"min_confidence": "high"}, "min_confidence='high'.*is no float"),
        ({"min_views": 2.5}, "min_views=2.5.*is no int"),
        ({"poisson_depth": True}, "poisson_depth=True"),
        ({"num_sources": 2}, "min_views=3.*cannot be reached with num_sources=2"),
    ],
)
def test_bad_settings_are_named(values, message):
    with pytest.raises(UserError, match=message):
        FusionRecipe.from_dict(values)


@pytest.mark.parametrize("method", ["consistency", "disparity", "tsdf"])
def test_description_is_one_line_that_tells_each_setting_in_use(method):
    names = {
        "consistency": ("min_confidence", "max_reprojection_px", "max_relative_depth", "trim_distance"),
        "disparity": ("min_confidence", "disparity_threshold", "trim_quantile", "normal_radius"),
        "tsdf": ("max_relative_depth", "tsdf_truncation", "tsdf_min_weight"),
    }[method]
    recipe = FusionRecipe(method=method)
    assert "\n" not in recipe.describe()
    assert recipe.describe().startswith(method)
    for name in names:
        changed = replace(recipe, **{name: 0.123})
        assert changed.describe() != recipe.describe()
        assert "0.123" in changed.describe()
