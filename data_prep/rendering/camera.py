"""The camera: where it stands, and the rays through its picture.

Facts of CLEVR's Blender scene: the camera looks at the origin, upright, through
a 35 mm lens on a sensor 32 mm wide; every coordinate of its position is moved
by up to 0.5. A scenes file does not hold the position, but the depths in
`pixel_coords` are exact enough to find it again.

`pixel_coords` belong to pictures of one size, the frame: 480x320 in CLEVR, but
320x240 unless its generator was told otherwise. Pictures of any size show it.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

from rn_jax.clevr import (
  CAMERA_POSITION,
  CAMERA_TAN_X,
  CAMERA_TAN_Y,
  HEIGHT,
  WIDTH,
)

POSITION, TAN_X, TAN_Y = CAMERA_POSITION, CAMERA_TAN_X, CAMERA_TAN_Y
JITTER = 0.5
FRAME = WIDTH, HEIGHT

# The depths carry nearly all that is known; the pixels, which are rounded,
# only settle what the depths of fewer than three objects leave open, and what
# those too leave open, the middle of all cameras does.
_PIXEL_WEIGHT, _MIDDLE_WEIGHT = 0.02, 1e-4
# Raised step by step: a narrow bent valley is slow to follow from afar.
_DEPTH_WEIGHTS = 1, 30, 1e3


def camera_of(
  scene: dict, frame: tuple[int, int] = FRAME
) -> Float[np.ndarray, "3"]:
  """Position of the camera of a scene in CLEVR's JSON, in world units.

  It is the scene's own "camera", or else recovered from the objects'
  `3d_coords` and `pixel_coords` by least squares, within CLEVR's jitter. Three
  objects settle it. With fewer it is known as well as pixels are, which are
  whole numbers: the objects' places in the picture are right within a pixel.

  Args:
    scene: The scene.
    frame: Width and height of the pictures that pixel_coords belong to.

  Raises:
    ValueError: Neither is there, or no camera explains the pixel_coords.
  """
  if "camera" in scene:
    return _vector(scene["camera"], "camera")
  try:
    points = np.array([o["3d_coords"] for o in scene["objects"]], float)
    pixels = np.array([o["pixel_coords"] for o in scene["objects"]], float)
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      'the scene has neither "camera" nor objects with 3d_coords and '
      f"pixel_coords ({error!r})"
    ) from error
  if points.ndim != 2 or points.shape[1] != 3 or points.shape != pixels.shape:
    raise ValueError("3d_coords and pixel_coords are not three numbers each")
  camera = _least_squares(points, pixels, frame)
  error = np.abs(project(points, camera, frame) - pixels)
  # Rounding moves a pixel by half at most; a little more is let pass.
  if len(points) == 0 or error[:, :2].max() > 1 or error[:, 2].max() > 1e-3:
    raise ValueError(
      "no camera explains the pixel_coords; were they made for pictures of "
      f"{frame[0]}x{frame[1]}? If not, give the size as frame_size"
    )
  return camera


def _vector(numbers, name: str) -> Float[np.ndarray, "3"]:
  """A position out of JSON as an array.

  Raises:
    ValueError: It is not three finite numbers.
  """
  try:
    vector = np.array(numbers, float)
  except (TypeError, ValueError):
    vector = np.array(np.nan)
  if vector.shape != (3,) or not np.isfinite(vector).all():
    raise ValueError(f'"{name}" is {numbers!r}, must be three numbers')
  return vector


def _least_squares(
  points: Float[np.ndarray, "N 3"],
  pixels: Float[np.ndarray, "N 3"],
  frame: tuple[int, int],
) -> Float[np.ndarray, "3"]:
  middle = np.array(POSITION)
  bounds = middle - JITTER, middle + JITTER

  def residuals(camera, depth_weight):
    error = project(points, camera, frame) - pixels
    weighted = error * (_PIXEL_WEIGHT, _PIXEL_WEIGHT, depth_weight)
    return np.append(weighted, _MIDDLE_WEIGHT * (camera - middle))

  camera = middle
  for weight in _DEPTH_WEIGHTS:
    found = least_squares(
      residuals, camera, "3-point", bounds, xtol=1e-12, args=(weight,)
    )
    camera = found.x
  return camera


def axes_of(
  camera: Sequence[float] | Float[np.ndarray, "3"],
) -> tuple[
  Float[np.ndarray, "3"], Float[np.ndarray, "3"], Float[np.ndarray, "3"]
]:
  """Unit vectors right and up in the picture, and back towards the camera.

  From straight above, right is that of the first axis.

  Raises:
    ValueError: The camera is where it looks to, or nowhere.
  """
  distance = np.linalg.norm(camera)
  if not 0 < distance < np.inf:
    raise ValueError(f"there is no direction from {camera!r} to the middle")
  x, y, z = np.asarray(camera, float) / distance
  level = np.hypot(x, y)
  right = np.array([-y / level, x / level, 0.0] if level else [1.0, 0.0, 0.0])
  up = np.array([-z * right[1], z * right[0], level])
  return right, up, np.array([x, y, z])


def tangents(frame: tuple[int, int]) -> tuple[float, float]:
  """Of half the angles of view across and down; the longer side's is fixed."""
  width, height = frame
  return TAN_X * width / max(frame), TAN_X * height / max(frame)


def project(
  points: Float[np.ndarray, "N 3"],
  camera: Float[np.ndarray, "3"],
  frame: tuple[int, int] = FRAME,
) -> Float[np.ndarray, "N 3"]:
  """Projects points to column, row and depth, as pixel_coords.

  Columns and rows are real numbers in pixels of a picture of the size `frame`,
  the rows downwards; depth is along the optical axis in world units.
  """
  (width, height), (tan_x, tan_y) = frame, tangents(frame)
  right, up, back = axes_of(camera)
  depth = np.linalg.norm(camera) - points @ back
  column = width / 2 * (1 + points @ right / depth / tan_x)
  row = height / 2 * (1 - points @ up / depth / tan_y)
  return np.stack([column, row, depth], -1)
