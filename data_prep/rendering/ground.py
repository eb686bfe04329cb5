"""The ground: a floor that bends up into a wall behind the scene.

It is a sheet with the same profile all along its local y axis: height against
local x. The numbers are those of CLEVR's mesh: the k-th of its 48 lines of
control points is 23.2149 (k / 47)^4 high, and their local x follows from the
table of measured heights below, through which a polynomial is laid.
"""

import jax.numpy as jnp
import numpy as np

from data_prep.rendering.vectors import advance

ALBEDO = 0.8  # Blender's default material
# The local x and y axes in the world, and the world point of local (0, 0).
AXIS_X = (-0.903208, 0.429204, 0.0)
AXIS_Y = (-0.429204, -0.903208, 0.0)
_ORIGIN = (-24.062761, -17.996670, 0.0)
_X_RANGE = (-23.476, 4.075)
_Y_RANGE = (-56.485, 0.0)

_TOP = 23.2149
_HEIGHTS = {
  -23.476: 0.0, -18: 0.0005, -14: 0.0055, -10: 0.0317, -8: 0.0683, -6: 0.1433,
  -4: 0.3007, -2: 0.6564, -1: 1.005, 0: 1.604, 1: 2.749, 2: 5.286, 3: 11.41,
  3.5: 16.37, 3.8: 19.80, 4: 22.22,
}  # fmt: skip
_CHORDS = 24


def _profile() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Knots of the profile: local x, height, slope."""
  known = (np.array(list(_HEIGHTS.values())) / _TOP) ** 0.25
  x_of = np.polynomial.Polynomial.fit(known, list(_HEIGHTS), 6)
  k = np.linspace(0, 1, _CHORDS + 1)
  return x_of(k), _TOP * k**4, _TOP * 4 * k**3 / x_of.deriv()(k)


_X, _Z, _SLOPE = _profile()
_CHORD_SLOPE = np.diff(_Z) / np.diff(_X)
_CHORD_START = _Z[:-1] - _CHORD_SLOPE * _X[:-1]


def tint_of(scene: dict) -> np.ndarray:
  """Colour of a scene's ground in units of CLEVR's, [3] float32.

  Raises:
    ValueError: Its "background" is no colour.
  """
  color = scene.get("background")
  if color is None:
    return np.ones(3, np.float32)
  if (
    not isinstance(color, list | tuple)
    or len(color) != 3
    or not all(type(c) in (int, float) and 0 <= c <= 255 for c in color)
  ):
    raise ValueError(
      f'"background" is {color!r}, must be three numbers from 0 to 255'
    )
  return (np.array(color) / (255 * ALBEDO)).astype(np.float32)


def local_of(point) -> tuple:
  """Local x and y of world points."""
  x, y = point[0] - _ORIGIN[0], point[1] - _ORIGIN[1]
  return AXIS_X[0] * x + AXIS_X[1] * y, AXIS_Y[0] * x + AXIS_Y[1] * y


def enter(origin, direction, xp=jnp):
  """Distance at which rays from above the sheet meet it; inf for a miss.

  `xp` is the array module to compute with, as in geometry.py.

  The profile is convex, so the space above it is what is above all its chords,
  and a ray leaves that where it first comes below one of them.
  """
  x, _ = local_of(origin)
  dx = AXIS_X[0] * direction[0] + AXIS_X[1] * direction[1]
  distance = xp.inf
  for slope, start in zip(_CHORD_SLOPE, _CHORD_START, strict=True):
    slope, start = np.float32(slope), np.float32(start)
    height = origin[2] - start - slope * x
    fall = slope * dx - direction[2]
    at = xp.maximum(height, 0) / xp.maximum(fall, 1e-20)
    distance = xp.minimum(distance, at)
  x, y = local_of(advance(origin, direction, distance))
  inside = (x > _X_RANGE[0]) & (x < _X_RANGE[1])
  inside &= (y > _Y_RANGE[0]) & (y < _Y_RANGE[1])
  return xp.where(inside & (distance < 1e4), distance, xp.inf)


def slope(point):
  """Slope of the profile at world points; linear between the knots."""
  x, _ = local_of(point)
  total = _SLOPE[0]
  for i in range(_CHORDS):
    share = jnp.clip((x - _X[i]) * (1 / (_X[i + 1] - _X[i])), 0, 1)
    total = total + share * (_SLOPE[i + 1] - _SLOPE[i])
  return total


def normal(slope) -> tuple:
  """Unit normal of the sheet where its profile has this slope."""
  z = 1 / jnp.sqrt(1 + slope * slope)
  return -slope * z * AXIS_X[0], -slope * z * AXIS_X[1], z
