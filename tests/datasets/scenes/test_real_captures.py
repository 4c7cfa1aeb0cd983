"""The captures at hand: counts, what is left out, and that geometry fits the images."""

import cv2
import numpy as np
import torch

from toolbox.datasets.scenes import ScanNetScene, SevenScenes, open_scene
from toolbox.geometry import sample_at_pixels, unproject
from toolbox.io import read_depth_png
from toolbox.structures import View


def test_redkitchen(shared):
    scene = open_scene(shared / "data" / "redkitchen_a")
    assert len(scene.views) == 240 and not scene.left_out and scene.unit == "m" and scene.name == "redkitchen_a"
    assert [view.id for view in scene.views] == list(range(240))
    depth = scene.view(120).depth()
    assert depth.shape == (480, 640) and 0.5 < np.median(depth[depth > 0]) < 4
    assert len(ScanNetScene(shared / "data" / "redkitchen_a", every=10).views) == 24


def test_fox(shared, own_cache):
    scene = open_scene(shared / "data" / "fox")
    assert len(scene.views) == 25 and len(scene.left_out) == 42 and scene.name == "fox"
    assert {entry.reason for entry in scene.left_out} == {"image is missing"}
    assert scene.left_out[0].name == "images/0002.jpg"
    view = scene.views[0]
    assert own_cache in view.image_path.parents and view.image().shape == (1920, 1080, 3)
    np.testing.assert_allclose(view.intrinsics[:2, 2], (554.558 - 0.5, 965.268 - 0.5))
    assert 1375.52 < view.intrinsics[0, 0] < 1.03 * 1375.52


def test_sevenscenes_raw(shared):
    scene = open_scene(shared / "data" / "sevenscenes_raw")
    assert len(scene.views) == 10 and scene.unit == "m" and scene.name == "redkitchen_seq-01"
    assert [view.id for view in scene.views] == list(range(0, 30, 3))
    assert all((view.depth() > 0).mean() > 0.5 for view in scene.views)


def photometric_error(reference: View, depth: np.ndarray, source: View) -> float:
    """Mean grey difference (0 to 255) of the reference and the source sampled where the reference's pixels fall."""
    known = depth > 0
    points = unproject(torch.from_numpy(depth).double(), torch.from_numpy(reference.intrinsics))[
        torch.from_numpy(known)
    ]
    to_source = torch.from_numpy(source.world_to_cam @ np.linalg.inv(reference.world_to_cam))
    in_source = points @ to_source[:3, :3].T + to_source[:3, 3]
    projected = in_source @ torch.from_numpy(source.intrinsics).T
    xy = projected[:, :2] / projected[:, 2:]
    grey = [torch.from_numpy(cv2.cvtColor(v.image(), cv2.COLOR_RGB2GRAY)).double() for v in (reference, source)]
    sampled = sample_at_pixels(grey[1][None, None], xy[None, None])[0, 0, 0]
    inside = (xy > 1).all(1) & (xy < torch.tensor([638, 478])).all(1)
    return float((sampled - grey[0][torch.from_numpy(known)])[inside].abs().mean())


def test_registration_makes_frames_agree(shared):
    """Colour warped by registered depth fits another frame better than by depth as stored with focal 525 for both."""
    root = shared / "data" / "sevenscenes_raw" / "redkitchen" / "seq-01"
    scene = SevenScenes(root)
    as_stored = SevenScenes(
        root, depth=False, colour_focal=525.0, colour_centre=(320.0, 240.0), depth_to_colour=(0.0, 0.0, 0.0)
    )
    for a, b in ((0, 27), (27, 6)):
        raw = read_depth_png(root / f"frame-{a:06d}.depth.png")
        stored = np.where(raw == 65535, 0, raw * 0.001).astype(np.float32)
        registered = photometric_error(scene.view(a), scene.view(a).depth(), scene.view(b))
        unregistered = photometric_error(as_stored.view(a), stored, as_stored.view(b))
        assert registered < 0.9 * unregistered, (registered, unregistered)


def test_registered_depth_is_that_of_the_exported_capture(shared):
    """redkitchen_a holds every second frame of the sequence, registered by others: they meet at frames 0, 6, 12, ..."""
    raw = open_scene(shared / "data" / "sevenscenes_raw")
    exported = open_scene(shared / "data" / "redkitchen_a")
    for frame in (0, 6, 12, 18, 24):
        ours, theirs = raw.view(frame), exported.view(frame // 2)
        np.testing.assert_allclose(ours.world_to_cam, theirs.world_to_cam, atol=2e-5)
        a, b = ours.depth(), theirs.depth()
        both = (a > 0) & (b > 0)
        assert both.sum() > 0.98 * (b > 0).sum()
        difference = np.abs(a - b)[both]
        assert np.percentile(difference, 80) < 0.002 and np.percentile(difference, 97) < 0.03
