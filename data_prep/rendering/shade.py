"""The light that surfaces send back: direct, indirect and the lamps' own.

Direct light comes from the middle of each lamp, weakened where objects hide the
lamp. Indirect light is a fit to path-traced probes in CLEVR's empty stage, as
the irradiance on a small surface in dependence of place and normal; other
objects, taken as spheres, cover a part of it and add light of their colour.
"""

import jax
import jax.numpy as jnp
import numpy as np

from data_prep.rendering import ground, materials
from data_prep.rendering.lamps import NAMES
from data_prep.rendering.trace import (
  GROUND,
  NUM_LAMPS,
  Hits,
  Stage,
  vector,
)
from data_prep.rendering.vectors import add, dot, scale, subtract

_PI = np.float32(np.pi)
_SUN = NAMES.index("sun")
# Light that comes back from objects near by, per unit of their colour.
_BOUNCE = {"rubber": 0.45, "metal": 0.35}
# The four points of a Gaussian quadrature of the square lamps.
_GAUSS = 1 / np.sqrt(3)
_QUADRATURE = [(x, y) for x in (-_GAUSS, _GAUSS) for y in (-_GAUSS, _GAUSS)]


def lamp_light(stage: Stage, lamp: int, hit: Hits, x=0.0, y=0.0) -> tuple:
  """Direction to a spot of a lamp, and the light from there.

  Args:
    stage: The scene.
    lamp: Which lamp.
    hit: The surface points.
    x: The spot, in half widths from the middle to the right.
    y: Likewise upwards.

  Returns:
    Unit vector towards the spot, and what a white surface square to it would
    receive from the lamp if all of it were at this spot, as a tuple (RGB).
  """
  lamps = stage.lamps
  spot = tuple(
    lamps.center[lamp] + lamps.half_right[lamp] * x + lamps.half_up[lamp] * y
  )
  toward = subtract(spot, hit.point)
  square = dot(toward, toward)
  toward = scale(toward, 1 / jnp.sqrt(square))
  cosine = jnp.maximum(-dot(toward, tuple(lamps.facing[lamp])), 0)
  strength = lamps.area[lamp] * cosine / square
  return toward, tuple(strength * c for c in lamps.radiance[lamp])


def ambient(stage: Stage, hit: Hits) -> tuple:
  """Indirect irradiance (RGB) of surface points."""
  x, y = ground.local_of(hit.point)
  x, y = (x + 14) / 10, (y + 26.6) / 10
  z, nz = hit.point[2], hit.normal[2]
  nw, nt = dot(hit.normal, ground.AXIS_X), dot(hit.normal, ground.AXIS_Y)
  on_object = (
    0.305 - 0.338 * nz + 0.060 * nw - 0.001 * nt + 0.105 * nz * nz
    + 0.035 * nz * nw + 0.118 * nw * nw + 0.082 * nt * nt
    - 0.034 * x + 0.036 * y + 0.091 * nz * x - 0.039 * z
  )  # fmt: skip
  on_ground = (
    0.051 + 0.036 * x + 0.017 * x * x + 0.016 * x * x * x
    - 0.001 * y - 0.003 * y * y - 0.001 * x * y
    + 0.001 * x * x * y - 0.002 * x * y * y
    + 0.264 * nw + 0.177 * nw * nw
  )  # fmt: skip
  light = jnp.where(hit.index == GROUND, on_ground, on_object)
  light = jnp.maximum(light, 0) * stage.lamps.strength
  objects = stage.objects

  def cover(i, sums):
    toward = subtract(tuple(objects.center[i]), hit.point)
    square = jnp.maximum(dot(toward, toward), 1e-4)
    inverse = 1 / jnp.sqrt(square)
    radius = objects.scale[i]
    cosine = dot(toward, hit.normal) * inverse + 0.25 * radius * inverse
    share = jnp.maximum(cosine, 0) * radius * radius / square
    share = jnp.where(hit.index == i, 0, jnp.minimum(share, 1))
    bounce = jnp.where(objects.is_metal[i], _BOUNCE["metal"], _BOUNCE["rubber"])
    color = tuple(objects.color[i] * bounce)
    return add(sums, (share, *(share * c for c in color)))

  zero = jnp.zeros_like(light)
  covered, *bounced = jax.lax.fori_loop(0, stage.count, cover, (zero,) * 4)
  return tuple(light * jnp.maximum(1 - covered, 0) + b for b in bounced)


def matte(stage: Stage, hit: Hits, hidden: jax.Array) -> tuple:
  """Radiance (RGB) of ground and rubber towards the viewer.

  Args:
    stage: The scene.
    hit: The surface points; others than ground and rubber get some value.
    hidden: Which lamps they do not see, bool [4, L].
  """
  is_ground = hit.index == GROUND
  color = color_of(stage, hit.index)
  view = jnp.clip(dot(hit.normal, hit.view), 1e-3, 1)
  coat, velvet, diffuse = materials.rubber_weights(view)
  coat = jnp.where(is_ground, 0, coat)
  velvet = jnp.where(is_ground, 0, velvet)
  diffuse = jnp.where(is_ground, 1, diffuse)
  total = scale(ambient(stage, hit), (diffuse + velvet) / _PI)
  total = tuple(t * c for t, c in zip(total, color, strict=True))
  for lamp in range(NUM_LAMPS):
    toward, light = lamp_light(stage, lamp, hit)
    cosine = dot(hit.normal, toward)
    seen = (cosine > 0) & ~hidden[lamp]
    body = diffuse / _PI * cosine
    body += velvet * materials.velvet(hit.normal, hit.view, toward)
    gloss = coat * materials.coat(hit.normal, hit.view, toward)
    total = tuple(
      t + jnp.where(seen, (body * c + gloss) * i, 0)
      for t, c, i in zip(total, color, light, strict=True)
    )
  # What the coat mirrors of the surroundings: the lit floor from below, the
  # dark upper half from above.
  below = jnp.clip(0.5 - materials.reflect(hit.normal, hit.view)[2], 0, 1)
  mirrored = coat * 0.8 * below * 0.24 * stage.lamps.strength
  return tuple(t + mirrored for t in total)


def highlights(stage: Stage, hit: Hits, hidden: jax.Array) -> tuple:
  """What the rough part of metal mirrors of the lamps (RGB), for white."""
  frame = materials.metal_frame(hit.normal, hit.offset)
  total = (jnp.zeros_like(hit.distance),) * 3
  for lamp in range(NUM_LAMPS):
    for x, y in _QUADRATURE:
      toward, light = lamp_light(stage, lamp, hit, x, y)
      seen = (dot(hit.normal, toward) > 0) & ~hidden[lamp]
      factor = materials.metal(frame, hit.normal, hit.view, toward)
      factor = jnp.where(seen, factor / len(_QUADRATURE), 0)
      total = add(total, scale(light, factor))
  return total


def mirrored_lamps(stage: Stage, origin, direction, distance) -> tuple:
  """Radiance of the lamps (RGB) that rays meet nearer than `distance`."""
  lamps = stage.lamps
  total = (jnp.zeros_like(distance),) * 3
  for lamp in range(NUM_LAMPS):
    facing = tuple(lamps.facing[lamp])
    toward = subtract(tuple(lamps.center[lamp]), origin)
    speed = dot(direction, facing)
    at = dot(toward, facing) / jnp.minimum(speed, -1e-9)
    spot = subtract(scale(direction, at), toward)
    right, up = tuple(lamps.half_right[lamp]), tuple(lamps.half_up[lamp])
    x = dot(spot, right) / dot(right, right)
    y = dot(spot, up) / dot(up, up)
    square = (abs(x) < 1) & (abs(y) < 1)
    inside = x * x + y * y < 1 if lamp == _SUN else square
    seen = inside & (speed < 0) & (at > 0) & (at < distance)
    total = tuple(
      t + jnp.where(seen, c, 0)
      for t, c in zip(total, lamps.radiance[lamp], strict=True)
    )
  return total


def color_of(stage: Stage, index: jax.Array) -> tuple:
  """Linear colour of objects, albedo of the ground."""
  colors = jnp.concatenate(
    [stage.objects.color, jnp.full((2, 3), ground.ALBEDO)]
  )
  return vector(colors, index)


def is_metal(stage: Stage, index: jax.Array) -> jax.Array:
  """Whether the surface is of metal."""
  metal = jnp.concatenate([stage.objects.is_metal, jnp.zeros(2, bool)])
  return metal[index]
