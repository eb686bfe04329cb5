"""The lamps as metal mirrors them.

The slopes of GGX's facets are distributed as a point of a plane is seen under
its angle: what a lobe shows of a lamp is the form factor of the polygon that
the lamp's corners make of half vectors, stretched by the lobe's widths (Heitz
et al. 2016, "linearly transformed cosines"). It is exact up to the factors that
hardly change over a lamp, which are those of its middle. A lobe much wider than
the lamp, or far from it, shows it as a spot.

A ray stands for a cone. Where the surface bends within it, a sharp lobe would
be met by one ray and missed by the next: the spread of the normals is added to
the lobe's widths (Tokuyoshi and Kaplanyan 2019), and that of the rays too.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from data_prep.rendering import materials
from data_prep.rendering.lamps import NAMES
from data_prep.rendering.trace import Hidden, Hits, Stage, object_normals
from data_prep.rendering.vectors import (
  Scalars,
  Vectors,
  add,
  advance,
  cross,
  dot,
  scale,
  subtract,
  unit,
  when,
)

# Variance of a cone's section, in units of its width: that of a filter whose
# standard deviation is half of it. A lobe's squared width counts it twice.
_SPREAD = 2 * 0.5**2
# The width is a sample's: of 0, 1/2, 1 and 1.5 pixels this is the nearest to 16
# times the samples (three generated scenes: 1.67, 1.06, 2.29, 3.56 bytes²).
_MOST_SPREAD = 0.18  # as Tokuyoshi and Kaplanyan have it; hardly matters
_TINY = 1e-6
# Corners of square lamps, each twice; of the sun an octagon of a disc's area.
_SQUARE = np.repeat([(-1, -1), (1, -1), (1, 1), (-1, 1)], 2, 0)
_ANGLES = np.arange(8) * np.pi / 4
_DISC = np.sqrt(np.pi / (2 * np.sqrt(2))) * np.stack(
  [np.cos(_ANGLES), np.sin(_ANGLES)], -1
)
_CORNERS = np.stack([_DISC if n == "sun" else _SQUARE for n in NAMES])
# Areas of the lamps, in squares of half their width, and variances likewise.
_AREA = np.array([np.pi if n == "sun" else 4 for n in NAMES])
_VARIANCE = np.array([1 / 4 if n == "sun" else 1 / 3 for n in NAMES])
# How many half widths of a lamp from its middle a mirror shows it as a spot.
_FAR = 5


class Cone(NamedTuple):
  """What rays stand for where they end.

  Attributes:
    width: Of the section, in world units.
    angle: Between the outer rays, in radians.
  """

  width: Scalars
  angle: Scalars


class Spread(NamedTuple):
  """Covariance of the slopes within a cone, times two.

  Attributes:
    uu: Along the first tangent of `materials.metal_frame`.
    uv: Of both.
    vv: Along the second tangent.
  """

  uu: Scalars
  uv: Scalars
  vv: Scalars


def spread_of(stage: Stage, hit: Hits, frame, cone: Cone) -> Spread:
  """How far the slopes of half vectors differ within cones."""
  cosine = dot(hit.normal, hit.view)
  away = unit(subtract(hit.view, scale(hit.normal, cosine)))
  aside = cross(hit.normal, away)
  plain = _SPREAD * (cone.angle / 2) ** 2
  uu, uv, vv = plain, jnp.zeros_like(plain), plain
  for tangent in (away, aside):
    beside = advance(hit.point, tangent, cone.width / 2)
    bent, _ = object_normals(stage, beside, hit.index)
    moved = scale(subtract(bent, hit.normal), 2)
    x, y = dot(moved, frame[0]), dot(moved, frame[1])
    uu, uv, vv = (
      uu + _SPREAD * x * x, uv + _SPREAD * x * y, vv + _SPREAD * y * y
    )  # fmt: skip
  limit = jnp.minimum(1, _MOST_SPREAD / jnp.maximum(uu + vv, _TINY))
  return Spread(uu * limit, uv * limit, vv * limit)


def angle_behind(spread: Spread, alpha: float) -> Scalars:
  """Angle of the cone that a lobe of this width sends on."""
  square = (spread.uu + spread.vv) / (2 * _SPREAD) + alpha**2
  return 2 * jnp.sqrt(square)


def light(
  stage: Stage, hit: Hits, frame, spread: Spread, hidden: Hidden
) -> Vectors:
  """Light (RGB) of the lamps that white metal mirrors.

  Args:
    stage: The scene.
    hit: The surface points.
    frame: Tangents of `materials.metal_frame`.
    spread: Of the slopes, within what a ray stands for.
    hidden: Which lamps the points do not see.
  """
  rough, mirror = (
    _lobe(alphas, spread)
    for alphas in (materials.ROUGH_ALPHAS, materials.MIRROR_ALPHAS)
  )
  cosine = dot(hit.normal, hit.view)
  view = _local(frame, hit.normal, hit.view)
  lamps = stage.lamps
  areas, variances, corners = (
    jnp.asarray(a, jnp.float32) for a in (_AREA, _VARIANCE, _CORNERS)
  )

  def local(a):
    return tuple(dot(axis, a) for axis in (*frame, hit.normal))

  def shine(lamp, total):
    toward = subtract(tuple(lamps.center[lamp]), hit.point)
    inverse = jax.lax.rsqrt(dot(toward, toward))
    toward = scale(toward, inverse)
    out = local(toward)
    half = add(view, out)
    upright = 1 / jnp.maximum(half[2], _TINY)
    slope = half[0] * upright, half[1] * upright

    def moved(edge):
      """How far the slope changes from the lamp's middle to an edge's."""
      edge = tuple(edge[lamp])
      x, y, z = local(
        scale(subtract(edge, scale(toward, dot(edge, toward))), inverse)
      )
      return (x - slope[0] * z) * upright, (y - slope[1] * z) * upright

    right, up = moved(lamps.half_right), moved(lamps.half_up)
    area = areas[lamp] * abs(right[0] * up[1] - right[1] * up[0])

    def spot(lobe):
      """Facets that show the lamp as a spot, and where that is too coarse."""
      x, y, dense = _rounded(lobe, *slope)
      apart = 1 + x * x + y * y
      edges = [c for e in (right, up) for c in _rounded(lobe, *e)[:2]]
      size = sum(c * c for c in edges)
      length = apart + variances[lamp] * size  # the mean over the lamp
      shown = area * dense / (np.pi * length * length)
      return shown, apart < _FAR**2 / 2 * size

    def form():
      polygon = []
      for k in range(corners.shape[1]):
        corner = (
          lamps.center[lamp]
          + lamps.half_right[lamp] * corners[lamp, k, 0]
          + lamps.half_up[lamp] * corners[lamp, k, 1]
        )
        end = local(unit(subtract(tuple(corner), hit.point)))
        x, y, z = add(end, view)
        polygon.append((x, y, jnp.maximum(z, _TINY)))
      return _form(mirror, polygon)

    glow, _ = spot(rough)
    sharp, near = spot(mirror)
    sharp = jnp.where(near, when(near.any(), form), sharp)
    factor = (1 + dot(view, out)) * upright / jnp.maximum(cosine, _TINY)
    out = out[0], out[1], jnp.maximum(out[2], _TINY)
    seen = 0
    for lobe, share, shown in (
      (rough, materials.ROUGH_SHARE, glow),
      (mirror, materials.MIRROR_SHARE, sharp),
    ):
      masking = 1 / (1 + _lambda(lobe, view) + _lambda(lobe, out))
      seen += share * jnp.minimum(factor * masking * shown, 1)
    dark = hidden[lamp] | (dot(hit.normal, toward) <= 0) | (cosine <= 0)
    seen = jnp.where(dark, 0, seen)
    return add(total, tuple(seen * c for c in lamps.radiance[lamp]))

  total = (jnp.zeros_like(hit.distance),) * 3
  return jax.lax.fori_loop(0, len(NAMES), shine, total)


def _local(frame, normal, a) -> tuple:
  return dot(frame[0], a), dot(frame[1], a), jnp.maximum(dot(normal, a), _TINY)


def _lobe(alphas: tuple[float, float], spread: Spread) -> Spread:
  u, v = alphas
  return Spread(spread.uu + u * u, spread.uv, spread.vv + v * v)


def _rounded(lobe: Spread, x, y) -> tuple:
  """Slopes x and y where the lobe's width is one; how much denser it is."""
  first = jax.lax.rsqrt(lobe.uu)
  mixed = lobe.uv * first
  second = jax.lax.rsqrt(jnp.maximum(lobe.vv - mixed * mixed, 1e-8))
  x = x * first
  return x, (y - mixed * x) * second, first * second


def _lambda(lobe: Spread, direction) -> Scalars:
  """Smith's, for GGX."""
  x, y, z = direction
  square = lobe.uu * x * x + 2 * lobe.uv * x * y + lobe.vv * y * y
  return 0.5 * (jnp.sqrt(1 + square / (z * z)) - 1)


def _form(lobe: Spread, polygon) -> Float[Array, " L"]:
  """Share of the facets whose normals are within a polygon."""
  corners = [unit((*_rounded(lobe, x, y)[:2], z)) for x, y, z in polygon]
  total = 0
  for a, b in zip(corners, [*corners[1:], corners[0]], strict=True):
    total += (a[0] * b[1] - a[1] * b[0]) * _arc(dot(a, b))
  return abs(total)


def _arc(cosine):
  """An angle over its sine and 2 pi, by Heitz and Hill's fit."""
  c = abs(cosine)
  low = 0.8543985 + (0.4965155 + 0.0145206 * c) * c
  ratio = low / (3.4175940 + (4.1616724 + c) * c)
  obtuse = 0.5 * jax.lax.rsqrt(jnp.maximum(1 - c * c, 1e-7)) - ratio
  return jnp.where(cosine > 0, ratio, obtuse)
