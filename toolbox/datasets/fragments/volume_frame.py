"""The frame that volumes live in: z up, the floor near z = 0, metres."""

import numpy as np
from jaxtyping import Float

from toolbox.errors import UserError
from toolbox.structures import Scene

_ALREADY_UPRIGHT_DEGREES = 30.0
_LEAN = 0.02
CAMERA_HEIGHT = 1.5
_PLAUSIBLE_HEIGHTS = (0.3, 3.0)


def estimate_up(world_to_cam: Float[np.ndarray, "v 4 4"]) -> Float[np.ndarray, "3"]:
    """The direction against gravity in the world, from cameras that a person held.

    People keep the image's horizon level: up is square to all cameras' x axes. Where those say too little (all look
    the same way), it leans towards the mean of the cameras' upwards axes.
    """
    right, mean_up = world_to_cam[:, 0, :3], -world_to_cam[:, 1, :3].mean(0)
    spread = right.T @ right / len(right) - _LEAN * np.outer(mean_up, mean_up)
    up = np.linalg.eigh(spread)[1][:, 0]
    return up if up @ mean_up > 0 else -up


def world_to_volume(
    scene: Scene, orientation: str = "auto", camera_height: float = CAMERA_HEIGHT
) -> Float[np.ndarray, "4 4"]:
    """The rigid transform from a scene's world to the frame of its volumes.

    Args:
        orientation: 'world' takes the world as it is (ScanNet's: z up, the floor at 0); 'cameras' turns the estimated
            up direction to z and puts the floor ``camera_height`` below the median camera; 'auto' turns where the
            world's z is more than 30 degrees from up, and puts the floor there where it turns, or where the median
            camera is not 0.3 to 3 m above z = 0.
        camera_height: metres.

    Raises:
        UserError: no such orientation.
    """
    if orientation not in ("auto", "world", "cameras"):
        raise UserError(f"orientation='{orientation}'", "is none", "Choose 'auto', 'world' or 'cameras'")
    transform = np.eye(4)
    if orientation == "world":
        return transform
    up = estimate_up(np.stack([view.world_to_cam for view in scene.views]))
    turn = orientation == "cameras" or up[2] < np.cos(np.radians(_ALREADY_UPRIGHT_DEGREES))
    if turn:
        transform[:3, :3] = _turn_to_z(up)
    height = float(np.median([transform[2, :3] @ view.centre for view in scene.views]))
    low, high = _PLAUSIBLE_HEIGHTS
    if turn or not low < height < high:
        transform[2, 3] = camera_height - height
    return transform


def _turn_to_z(up: np.ndarray) -> np.ndarray:
    """A rotation that takes ``up`` to z, and turns as little as possible about it."""
    # The world's axis that is farthest from up stays closest to x.
    x = np.eye(3)[np.argmin(np.abs(up))]
    x = x - up * (up @ x)
    x /= np.linalg.norm(x)
    return np.stack((x, np.cross(up, x), up))
