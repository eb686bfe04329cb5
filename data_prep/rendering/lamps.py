"""The lamps: three square ones that aim at the origin, and a sun.

Positions, sizes, powers and colours are those of CLEVR's Blender scene. Each
scene moves every coordinate of a square lamp by up to 1; the sun stays.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_prep.rendering.camera import axes_of

JITTER = 1.0
POSITIONS = {
  "key": (6.446710, -2.905175, 4.258398),
  "fill": (-4.671124, -4.013597, 3.011225),
  "back": (-1.168501, 2.646024, 5.815737),
}
_SIDE = {"key": 0.5, "fill": 0.5, "back": 1.0}
_RADIANCE = {"key": 100.0, "fill": 30.0, "back": 12.5}
_COLOR = {
  "key": (1.0, 0.932309, 0.816664),
  "fill": (0.761666, 0.817720, 1.0),
  "back": (1.0, 1.0, 1.0),
}
_SUN_DIRECTION = (0.414496, -0.194583, 0.889005)
_SUN_HALF_ANGLE = 0.0996685
_SUN_IRRADIANCE = 0.45
# The sun as a disc so far away that its rays are parallel.
_SUN_DISTANCE = 1e4

NAMES = ("key", "fill", "back", "sun")


class Lamps(NamedTuple):
  """The four lamps of one scene, in the order of NAMES.

  Attributes:
    center: World coordinates.
    half_right: From the centre to the middle of the right edge.
    half_up: From the centre to the middle of the upper edge; edge means rim for
      the sun, which is a disc.
    facing: Unit normal of the side that shines.
    radiance: Linear RGB.
    area: In square world units.
    strength: Direct light on the floor at the origin, in units of that of the
      nominal lamps.
  """

  center: Float[np.ndarray, "4 3"]
  half_right: Float[np.ndarray, "4 3"]
  half_up: Float[np.ndarray, "4 3"]
  facing: Float[np.ndarray, "4 3"]
  radiance: Float[np.ndarray, "4 3"]
  area: Float[np.ndarray, "4"]
  strength: Float[np.ndarray, ""]


def lamps_of(scene: dict, positions: Mapping | None = None) -> Lamps:
  """The lamps of a scene.

  Args:
    scene: A scene in CLEVR's JSON; its "lamps", if it has any, are the
      positions {"key": [x, y, z], "fill": ..., "back": ...}.
    positions: To use instead of the scene's. Nominal where neither is given.

  Raises:
    ValueError: The positions are not such.
  """
  if positions is None:
    positions = scene.get("lamps", POSITIONS)
  if not isinstance(positions, Mapping) or set(positions) != set(POSITIONS):
    raise ValueError(f'"lamps" must hold positions of {", ".join(POSITIONS)}')
  rows = [_square(name, positions[name]) for name in POSITIONS]
  right, up, back = axes_of(_SUN_DIRECTION)
  radius = _SUN_DISTANCE * np.sin(_SUN_HALF_ANGLE)
  area = np.pi * radius**2
  radiance = np.full(3, _SUN_IRRADIANCE * _SUN_DISTANCE**2 / area)
  center = _SUN_DISTANCE * back
  rows.append((center, radius * right, radius * up, -back, radiance, area))
  stacked = [np.array(column) for column in zip(*rows, strict=True)]
  stacked.append(_irradiance_at_origin(*stacked) / _NOMINAL_IRRADIANCE)
  return Lamps(*(a.astype(np.float32) for a in stacked))


def _square(name: str, position) -> tuple:
  try:
    center = np.array(position, float)
  except (TypeError, ValueError):
    center = np.full(3, np.nan)
  if center.shape != (3,) or not np.isfinite(center).all() or not center.any():
    raise ValueError(
      f"lamp {name!r} is at {position!r}, must be three numbers, not all 0"
    )
  right, up, back = axes_of(center)
  half = _SIDE[name] / 2
  radiance = _RADIANCE[name] * np.array(_COLOR[name])
  return center, half * right, half * up, -back, radiance, _SIDE[name] ** 2


def _irradiance_at_origin(center, _right, _up, _facing, radiance, area):
  """Of the floor; all lamps face it. In the strongest of the three colours."""
  square = (center**2).sum(-1)
  cosine = center[:, 2] / np.sqrt(square)
  return (radiance.max(-1) * area * cosine / square).sum()


# Of the lamps in their nominal positions.
_NOMINAL_IRRADIANCE = 0.925


def _pattern() -> Float[np.ndarray, "4 16 2"]:
  """Where on each lamp the 16 samples of a 4x4 block look.

  The first 16 points of Sobol's two-dimensional sequence, in (-1, 1)²; four
  that follow on one another are in different quarters, and belong to a 2x2
  block. Lamps use different ones at the same place.
  """
  points = []
  for i in range(16):
    bits = [(i >> b) & 1 for b in range(4)]
    x = sum(bit / 2 ** (b + 1) for b, bit in enumerate(bits))
    columns = (0b1000, 0b1100, 0b1010, 0b1111)
    y = 0
    for bit, column in zip(bits, columns, strict=True):
      y ^= bit * column
    points.append((x + 1 / 32, (y + 0.5) / 16))
  points = np.array(points)
  result = []
  for lamp in range(4):
    shifted = points[np.arange(16) ^ (lamp * 5 % 16)]
    result.append(2 * ((shifted + np.array([lamp % 2, lamp // 2]) / 2) % 1) - 1)
  result[-1] = _to_disc(result[-1])
  return np.array(result, np.float32)


def _to_disc(square: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
  """Maps (-1, 1)² to the unit disc, keeping areas (concentric squares)."""
  radius = np.abs(square).max(-1)
  x, y = square[:, 0], square[:, 1]
  flat = np.abs(x) >= np.abs(y)
  ratio = np.where(flat, y, x) / np.where(flat, x, y)
  angle = np.where(flat, np.pi / 4 * ratio, np.pi / 2 - np.pi / 4 * ratio)
  radius = np.where(np.where(flat, x, y) < 0, -radius, radius)
  return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)


PATTERN = _pattern()
# The place in a 4x4 block of samples, [4, 4]: 2x2 blocks follow on one another.
PHASE = np.array(
  [
    [4 * (2 * (r // 2) + c // 2) + 2 * (r % 2) + c % 2 for c in range(4)]
    for r in range(4)
  ],
  np.int32,
)
