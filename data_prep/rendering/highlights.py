"""The lamps as metal mirrors them.

The slopes of GGX's facets are distributed as a point of a plane is seen under
its angle: what a lobe shows of a lamp is the form factor of the polygon that
the lamp's corners make of half vectors, stretched by the lobe's widths (Heitz
et al. 2016, "linearly transformed cosines"). It is exact up to the factors that
hardly change over a lamp, which are those of its middle.

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
)

# Variance of a cone's section, in units of its width: that of a filter whose
# standard deviation is half of it. A lobe's squared width counts it twice.
_SPREAD = 2 * 0.5**2
_MOST_SPREAD = 0.18  # as Tokuyoshi and Kaplanyan have it
_TINY = 1e-6
_SQUARE = ((-1, -1), (1, -1), (1, 1), (-1, 1))
# A disc as the octagon of the same area.
_RADIUS = np.sqrt(np.pi / (2 * np.sqrt(2)))
_DISC = tuple(
  (_RADIUS * np.cos(a), _RADIUS * np.sin(a)) for a in np.arange(8) * np.pi / 4
)


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
    ends = [
      object_normals(
        stage.objects, advance(hit.point, tangent, side * cone.width), hit.index
      )[0]
      for side in (-0.5, 0.5)
    ]
    moved = subtract(*ends)
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
  lobes = [
    _lobe(alpha, spread)
    for alpha in (materials.ROUGH_ALPHAS, materials.MIRROR_ALPHAS)
  ]
  cosine = dot(hit.normal, hit.view)
  shares = [materials.ROUGH_SHARE, materials.MIRROR_SHARE]

  def shine(lamp, corners, total):
    toward, half = _half_vector(stage, lamp, hit, (0, 0))
    half = unit(half)
    factor = dot(half, hit.view)
    factor /= jnp.maximum(cosine, _TINY) * jnp.maximum(
      dot(half, hit.normal), _TINY
    )
    view = _local(frame, hit.normal, hit.view)
    out = _local(frame, hit.normal, toward)
    polygon = [
      _local(frame, hit.normal, _half_vector(stage, lamp, hit, c)[1])
      for c in corners
    ]
    seen = 0
    for lobe, share in zip(lobes, shares, strict=True):
      masking = 1 / (1 + _lambda(lobe, view) + _lambda(lobe, out))
      seen += share * jnp.minimum(factor * masking * _form(lobe, polygon), 1)
    dark = hidden[lamp] | (dot(hit.normal, toward) <= 0) | (cosine <= 0)
    seen = jnp.where(dark, 0, seen)
    return add(total, tuple(seen * c for c in stage.lamps.radiance[lamp]))

  total = (jnp.zeros_like(hit.distance),) * 3
  sun = NAMES.index("sun")
  total = jax.lax.fori_loop(
    0, sun, lambda lamp, total: shine(lamp, _SQUARE, total), total
  )
  return shine(sun, _DISC, total)


def _half_vector(stage: Stage, lamp, hit: Hits, spot) -> tuple:
  """Direction to a spot of a lamp, and the half vector, not of unit length."""
  lamps = stage.lamps
  place = tuple(
    lamps.center[lamp]
    + lamps.half_right[lamp] * spot[0]
    + lamps.half_up[lamp] * spot[1]
  )
  toward = unit(subtract(place, hit.point))
  return toward, add(toward, hit.view)


def _local(frame, normal, a) -> tuple:
  return dot(frame[0], a), dot(frame[1], a), jnp.maximum(dot(normal, a), _TINY)


def _lobe(alphas: tuple[float, float], spread: Spread) -> Spread:
  u, v = alphas
  return Spread(spread.uu + u * u, spread.uv, spread.vv + v * v)


def _lambda(lobe: Spread, direction) -> Scalars:
  """Smith's, for GGX."""
  x, y, z = direction
  square = lobe.uu * x * x + 2 * lobe.uv * x * y + lobe.vv * y * y
  return 0.5 * (jnp.sqrt(1 + square / (z * z)) - 1)


def _form(lobe: Spread, polygon) -> Float[Array, " L"]:
  """Share of the facets whose normals are within a polygon."""
  first = jax.lax.rsqrt(lobe.uu)
  mixed = lobe.uv * first
  second = jax.lax.rsqrt(jnp.maximum(lobe.vv - mixed * mixed, 1e-8))
  corners = []
  for x, y, z in polygon:
    x = x * first
    corners.append(unit((x, (y - mixed * x) * second, z)))
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
