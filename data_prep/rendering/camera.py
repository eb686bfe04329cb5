"""The camera: where it stands, and the rays through its picture.

Facts of CLEVR's Blender scene: the camera looks at the origin, upright, through
a 35 mm lens on a sensor 32 mm wide; every coordinate of its position is moved
by up to 0.5. A scenes file does not hold the position, but the depths in
`pixel_coords` are exact enough to find it again.

Pictures of any size show the same frame, that of 480x320 pixels.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rn_jax.clevr import CAMERA_POSITION as POSITION
from rn_jax.clevr import CAMERA_TAN_X as TAN_X
from rn_jax.clevr import CAMERA_TAN_Y as TAN_Y
from rn_jax.clevr import HEIGHT, WIDTH

JITTER = 0.5

# The depths carry nearly all that is known; the pixels, which are rounded,
# only settle what three depths leave open.
_DEPTH_WEIGHT, _PIXEL_WEIGHT = 1e4, 0.02
_MAX_ITERATIONS = 100


def camera_of(scene: dict) -> Float[np.ndarray, "3"]:
  """Position of the camera of a scene in CLEVR's JSON, in world units.

  It is the scene's own "camera", or else recovered from the objects'
  `3d_coords` and `pixel_coords` by least squares (Levenberg-Marquardt).

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
  camera = _least_squares(points, pixels)
  error = np.abs(project(points, camera) - pixels)
  # Rounding moves a pixel by half at most; a little more is let pass.
  if len(points) == 0 or error[:, :2].max() > 1 or error[:, 2].max() > 1e-3:
    raise ValueError(
      "no camera explains the pixel_coords; were they made for pictures of "
      f"{WIDTH}x{HEIGHT}?"
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
  points: Float[np.ndarray, "N 3"], pixels: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, "3"]:
  weights = np.array([_PIXEL_WEIGHT, _PIXEL_WEIGHT, _DEPTH_WEIGHT])

  def residuals(camera):
    return ((project(points, camera) - pixels) * weights).ravel()

  camera, damping, step = np.array(POSITION), 1e-3, 1e-6
  current = residuals(camera)
  for _ in range(_MAX_ITERATIONS):
    moved = [residuals(camera + step * axis) for axis in np.eye(3)]
    jacobian = (np.array(moved) - current).T / step
    normal = jacobian.T @ jacobian
    change = np.linalg.solve(
      normal + damping * np.diag(np.diag(normal)), -jacobian.T @ current
    )
    trial = residuals(camera + change)
    if trial @ trial < current @ current:
      camera, current, damping = camera + change, trial, damping / 10
    else:
      damping *= 10
    if np.abs(change).max() < 1e-10 or damping > 1e12:
      break
  return camera


def axes_of(
  camera: Sequence[float] | Float[np.ndarray, "3"],
) -> tuple[
  Float[np.ndarray, "3"], Float[np.ndarray, "3"], Float[np.ndarray, "3"]
]:
  """Unit vectors right and up in the picture, and back towards the camera."""
  x, y, z = np.asarray(camera, float) / np.linalg.norm(camera)
  level = np.hypot(x, y)
  right = np.array([-y / level, x / level, 0.0])
  up = np.array([-z * right[1], z * right[0], level])
  return right, up, np.array([x, y, z])


def project(
  points: Float[np.ndarray, "N 3"], camera: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "N 3"]:
  """Projects points to column, row and depth, as pixel_coords.

  Columns and rows are real numbers in pixels of a 480x320 picture, the rows
  downwards; depth is along the optical axis in world units.
  """
  right, up, back = axes_of(camera)
  depth = np.linalg.norm(camera) - points @ back
  column = WIDTH / 2 * (1 + points @ right / depth / TAN_X)
  row = HEIGHT / 2 * (1 - points @ up / depth / TAN_Y)
  return np.stack([column, row, depth], -1)
