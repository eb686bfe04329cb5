"""The light that surfaces send back, but for mirrored lamps.

Direct light comes from the middle of each lamp, weakened where objects hide the
lamp. Indirect light is a fit to path-traced probes in CLEVR's empty stage, as
the irradiance on a small surface in dependence of place and normal; other
objects, taken as spheres, cover a part of it and add light of their colour.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from data_prep.rendering import ground, materials
from data_prep.rendering.trace import (
  GROUND,
  NUM_LAMPS,
  Hidden,
  Hits,
  Stage,
  vector,
)
from data_prep.rendering.vectors import (
  Indices,
  Scalars,
  Vectors,
  add,
  dot,
  scale,
  subtract,
  when,
  where,
)

_PI = np.float32(np.pi)
# Light that comes back from objects near by, per unit of their colour.
_BOUNCE = {"rubber": 0.45, "metal": 0.35}


def lamp_light(stage: Stage, lamp, hit: Hits) -> tuple[Vectors, Scalars]:
  """Unit vector towards a lamp's middle, and the lamp's solid angle.

  The angle is that which the lamp would fill if all of it were seen as its
  middle is.
  """
  lamps = stage.lamps
  toward = subtract(tuple(lamps.center[lamp]), hit.point)
  square = dot(toward, toward)
  toward = scale(toward, 1 / jnp.sqrt(square))
  cosine = jnp.maximum(-dot(toward, tuple(lamps.facing[lamp])), 0)
  return toward, lamps.area[lamp] * cosine / square


def ambient(stage: Stage, hit: Hits) -> Vectors:
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
  # It comes from the lit ground, directly or by way of the wall.
  lights = scale(tuple(stage.tint), light)
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
  return tuple(
    light * jnp.maximum(1 - covered, 0) + b
    for light, b in zip(lights, bounced, strict=True)
  )


def matte(stage: Stage, hit: Hits, hidden: Hidden) -> Vectors:
  """Radiance (RGB) of ground and rubber towards the viewer.

  Args:
    stage: The scene.
    hit: The surface points; others than ground and rubber get some value.
    hidden: Which lamps they do not see.
  """
  around = ambient(stage, hit)
  plain = _ground_light(stage, hit, hidden, around)
  is_rubber = (hit.index < GROUND) & ~is_metal(stage, hit.index)
  rubber = when(
    is_rubber.any(), partial(_rubber_light, stage), hit, hidden, around
  )
  return where(is_rubber, rubber, plain)


def _ground_light(
  stage: Stage, hit: Hits, hidden: Hidden, around: Vectors
) -> Vectors:
  def shine(lamp, total):
    toward, angle = lamp_light(stage, lamp, hit)
    cosine = jnp.maximum(dot(hit.normal, toward), 0)
    light = jnp.where(hidden[lamp], 0, cosine * angle)
    color = tuple(stage.lamps.radiance[lamp])
    return add(total, tuple(light * c for c in color))

  total = jax.lax.fori_loop(0, NUM_LAMPS, shine, around)
  light = scale(total, ground.ALBEDO / _PI)
  return tuple(c * t for c, t in zip(light, stage.tint, strict=True))


def _rubber_light(
  stage: Stage, hit: Hits, hidden: Hidden, around: Vectors
) -> Vectors:
  color = color_of(stage, hit.index)
  view = jnp.clip(dot(hit.normal, hit.view), 1e-3, 1)
  coat, velvet, diffuse = materials.rubber_weights(view)

  def shine(lamp, totals):
    toward, angle = lamp_light(stage, lamp, hit)
    cosine = dot(hit.normal, toward)
    light = jnp.where(hidden[lamp] | (cosine <= 0), 0, angle)
    body = diffuse / _PI * cosine
    body += velvet * materials.velvet(hit.normal, hit.view, toward)
    gloss = coat * materials.coat(hit.normal, hit.view, toward)
    lamp_color = tuple(stage.lamps.radiance[lamp])
    parts = [scale(lamp_color, body * light), scale(lamp_color, gloss * light)]
    return [add(t, part) for t, part in zip(totals, parts, strict=True)]

  body = scale(around, (diffuse + velvet) / _PI)
  # What the coat mirrors of the surroundings: the lit floor from below, the
  # dark upper half from above.
  below = jnp.clip(0.5 - materials.reflect(hit.normal, hit.view)[2], 0, 1)
  gloss = coat * 0.8 * below * 0.24 * stage.lamps.strength
  body, gloss = jax.lax.fori_loop(
    0, NUM_LAMPS, shine, [body, scale(tuple(stage.tint), gloss)]
  )
  return tuple(c * b + g for c, b, g in zip(color, body, gloss, strict=True))


def color_of(stage: Stage, index: Indices) -> Vectors:
  """Linear colour of objects, albedo of the ground."""
  albedo = jnp.broadcast_to(ground.ALBEDO * stage.tint, (2, 3))
  colors = jnp.concatenate([stage.objects.color, albedo])
  return vector(colors, index)


def is_metal(stage: Stage, index: Int[Array, "*n"]) -> Bool[Array, "*n"]:
  """Whether the surface is of metal."""
  metal = jnp.concatenate([stage.objects.is_metal, jnp.zeros(2, bool)])
  return metal[index]
