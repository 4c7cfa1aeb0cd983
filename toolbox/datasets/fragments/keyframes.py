"""Which frames of a video a volumetric network sees: keyframes, in fragments of consecutive ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from toolbox.errors import UserError


@dataclass(frozen=True)
class KeyframeRule:
    """When a frame is a keyframe, and how many make a fragment (the published values by default).

    Attributes:
        min_angle_degrees: a frame turned by more than this from the keyframe before is one,
        min_distance: or moved by more than this, in the scene's unit.
        views: keyframes of a fragment.
        keep_rest: the keyframes left over at the end make a last fragment, filled up with those before them; else
            they are left out, as published.
    """

    min_angle_degrees: float = 15.0
    min_distance: float = 0.1
    views: int = 9
    keep_rest: bool = False

    def __post_init__(self):
        if self.views < 1 or self.min_angle_degrees < 0 or self.min_distance < 0:
            raise UserError("the keyframe rule", f"makes no sense: {self}", "Give views >= 1 and limits >= 0")


def rotation_angle(a: Float[np.ndarray, "4 4"], b: Float[np.ndarray, "4 4"]) -> float:
    """Angle in degrees of the rotation that takes one camera's orientation to the other's."""
    relative = a[:3, :3] @ b[:3, :3].T
    sine = np.linalg.norm(relative - relative.T) / np.sqrt(8)
    return float(np.degrees(np.arctan2(sine, (np.trace(relative) - 1) / 2)))


def select_keyframes(world_to_cam: Sequence[Float[np.ndarray, "4 4"]], rule: KeyframeRule) -> list[int]:
    """Positions of the keyframes: the first frame, then each that turned or moved by more than the rule's limits since
    the keyframe before.

    Args:
        world_to_cam: of all frames, in the order they were taken; rigid.
    """
    chosen: list[int] = []
    for k, pose in enumerate(world_to_cam):
        if not chosen or _moved(world_to_cam[chosen[-1]], pose, rule):
            chosen.append(k)
    return chosen


def _moved(before: np.ndarray, now: np.ndarray, rule: KeyframeRule) -> bool:
    centres = [-pose[:3, :3].T @ pose[:3, 3] for pose in (before, now)]
    far = np.linalg.norm(centres[1] - centres[0]) > rule.min_distance
    return bool(far) or rotation_angle(before, now) > rule.min_angle_degrees


def split_fragments(keyframes: Sequence[int], rule: KeyframeRule) -> tuple[list[list[int]], list[int]]:
    """Consecutive keyframes in fragments of ``rule.views``, and the keyframes that no fragment holds."""
    whole = len(keyframes) // rule.views * rule.views
    fragments = [list(keyframes[i : i + rule.views]) for i in range(0, whole, rule.views)]
    rest = list(keyframes[whole:])
    if rule.keep_rest and rest and fragments:
        fragments.append(list(keyframes[-rule.views :]))
        rest = []
    return fragments, rest
