"""Where objects are in a picture of their scene: masks and depths.

A pixel belongs to what a ray through its middle meets first, as the renderer's
primary rays do: the nearest object, or the ground, which is not quite flat and
hides the feet of some. What an object would fill if it stood alone, and without
ground, is its amodal mask.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from data_prep.rendering import ground
from data_prep.rendering.camera import FRAME
from data_prep.rendering.view import View, view_of
from data_prep.rendering.visibility import (
  NOTHING,
  nearest_objects,
  object_depths,
)


class Silhouette(NamedTuple):
  """An object in a picture.

  Attributes:
    visible: The pixels that show it.
    amodal: The pixels that it would fill alone.
    depth: Mean depth of the visible pixels, along the optical axis in world
      units; not-a-number where there are none.
  """

  visible: Bool[np.ndarray, "H W"]
  amodal: Bool[np.ndarray, "H W"]
  depth: float


def silhouettes(
  scene: dict,
  size: tuple[int, int] = FRAME,
  frame: tuple[int, int] = FRAME,
) -> list[Silhouette]:
  """Returns the silhouettes of a scene's objects, in their order.

  Args:
    scene: A scene in CLEVR's JSON.
    size: Width and height of the picture, in pixels.
    frame: Width and height of the pictures that the scene was made for.

  Raises:
    ValueError: The scene is not as CLEVR describes scenes.
  """
  view = view_of(scene, size, frame)
  alone = list(object_depths(scene, view))
  ids, nearest = nearest_objects(view, alone)
  rows, columns = np.nonzero(ids != NOTHING)
  below = _ground_depth(view, rows, columns) < nearest[rows, columns]
  ids[rows[below], columns[below]] = NOTHING
  found = []
  for i, (window, depths) in enumerate(alone):
    visible, amodal = np.zeros((2, *ids.shape), bool)
    visible[window] = ids[window] == i
    amodal[window] = depths < np.inf
    seen = depths[visible[window]]
    depth = float(seen.mean(dtype=float)) if seen.size else np.nan
    found.append(Silhouette(visible, amodal, depth))
  return found


def _ground_depth(
  view: View, rows: np.ndarray, columns: np.ndarray
) -> Float[np.ndarray, " K"]:
  """Depth at which the rays of some pixels meet the ground; inf for a miss."""
  right, up, back = (axis.astype(np.float32) for axis in view.axes)
  x, y = view.x[columns], view.y[rows]
  rays = tuple(x * right[i] + y * up[i] - back[i] for i in range(3))
  camera = tuple(view.camera.astype(np.float32))
  with np.errstate(over="ignore", invalid="ignore"):
    return ground.enter(camera, rays, np)


def box_of(mask: Bool[np.ndarray, "H W"]) -> tuple[int, int, int, int]:
  """Returns left, upper, right and lower edge of a mask, in pixels.

  The right and lower edge are those behind the last pixels; all are 0 where
  the mask is empty.
  """
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  if not rows.size:
    return 0, 0, 0, 0
  left, upper, right, lower = map(
    int, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
  )
  return left, upper, right, lower
