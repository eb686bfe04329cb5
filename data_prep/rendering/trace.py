"""What rays meet, and whether lamps are seen: loops over a scene's objects."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from data_prep.rendering import geometry, ground
from data_prep.rendering.lamps import PATTERN, Lamps
from data_prep.rendering.scene_arrays import Objects
from data_prep.rendering.vectors import (
  Indices,
  Scalars,
  Vectors,
  add,
  advance,
  dot,
  scale,
  subtract,
  unit,
  when,
  where,
)
from rn_jax.clevr import MAX_OBJECTS

GROUND, NOTHING = MAX_OBJECTS, MAX_OBJECTS + 1  # in place of an object's index
NUM_LAMPS = 4


class Stage(NamedTuple):
  """One scene, ready for rays.

  Attributes:
    camera: Position.
    axes: Right, up and back; the first two scaled to the frame's ratio.
    objects: Padded to MAX_OBJECTS rows.
    count: Number of true objects.
    lamps: Its lamps.
    tint: Colour of the ground in units of CLEVR's.
    bounds: BOUNDING_RADIUS of geometry.py, cut after the solids that may occur:
      its length says which are compiled in.
  """

  camera: Float[Array, "3"]
  axes: Float[Array, "3 3"]
  objects: Objects
  count: Int[Array, ""]
  lamps: Lamps
  tint: Float[Array, "3"]
  bounds: Float[Array, " solids"]


class Hits(NamedTuple):
  """Where rays end.

  Attributes:
    index: The object, GROUND or NOTHING.
    distance: Along the ray, in lengths of its direction.
    point: World coordinates; of no use where the ray meets nothing.
    normal: Unit vector, likewise.
    offset: From the object's centre to the point.
    view: Unit vector back along the ray.
  """

  index: Indices
  distance: Scalars
  point: Vectors
  normal: Vectors
  offset: Vectors
  view: Vectors


# For each ray which of the four lamps are hidden, and points on them.
Hidden = Bool[Array, "4 L"]
Targets = tuple[Float[Array, "4 L"], Float[Array, "4 L"], Float[Array, "4 L"]]
# What to try: indices, and how many of them count.
Listed = tuple[Int[Array, " K"], Int[Array, ""]]


def vector(rows: Shaped[Array, "N 3"], index=slice(None)) -> tuple:
  """Coordinates of rows as a tuple; `index` may be an array."""
  return tuple(rows[index, i] for i in range(3))


def _enter(stage: Stage, i, origin, direction):
  objects = stage.objects
  center = tuple(objects.center[i])
  place = center, objects.scale[i], objects.cosine[i], objects.sine[i]
  rays = geometry.to_object(origin, direction, *place)
  solids = geometry.ENTER[: len(stage.bounds)]
  return jax.lax.switch(
    objects.shape[i], [partial(f, xp=jnp) for f in solids], *rays
  )


def hits(
  stage: Stage, origin, direction: Vectors, own: Indices, candidates: Listed
) -> Hits:
  """Follows rays to the nearest surface.

  Args:
    stage: The scene.
    origin: Where rays start, `Vectors` or one vector for all.
    direction: Where they go.
    own: The object that a ray leaves and cannot meet again, the objects being
      convex; NOTHING for none.
    candidates: The objects to try.
  """
  objects, count = candidates

  def try_object(k, best):
    distance, index = best
    i = objects[k]
    found = jnp.where(own == i, jnp.inf, _enter(stage, i, origin, direction))
    return jnp.minimum(found, distance), jnp.where(found < distance, i, index)

  like = jnp.zeros_like(direction[0])
  start = like + jnp.inf, jnp.full(like.shape, NOTHING, jnp.int32)
  distance, index = jax.lax.fori_loop(0, count, try_object, start)
  down = ground.enter(origin, direction)
  index = jnp.where(down < distance, GROUND, index)
  distance = jnp.minimum(distance, down)
  point = advance(origin, direction, jnp.where(index < NOTHING, distance, 1))
  normal, offset = _normal(stage, point, index)
  view = scale(unit(direction), -1)
  return Hits(index, distance, point, normal, offset, view)


def _normal(stage: Stage, point, index) -> tuple:
  """Unit normals, and offsets from the object's centre."""
  is_object = index < MAX_OBJECTS
  normal, offset = when(
    is_object.any(), partial(object_normals, stage), point, index
  )
  slope = when((index == GROUND).any(), ground.slope, point)
  return where(is_object, normal, ground.normal(slope)), offset


def object_normals(stage: Stage, point: Vectors, index: Indices) -> tuple:
  """Unit normals of points on objects or near, and offsets from centres."""
  objects = stage.objects
  i = jnp.minimum(index, MAX_OBJECTS - 1)
  center = vector(objects.center, i)
  scale, cosine, sine = objects.scale[i], objects.cosine[i], objects.sine[i]
  local, _ = geometry.to_object(point, point, center, scale, cosine, sine)
  shape = objects.shape[i]
  normal = geometry.normal_sphere(local, jnp)
  for kind in range(1, len(stage.bounds)):
    normal = where(shape == kind, geometry.NORMAL[kind](local, jnp), normal)
  normal = unit(geometry.to_world(normal, cosine, sine))
  return normal, subtract(point, center)


def lamp_samples(stage: Stage, phase: Indices) -> Targets:
  """The point on each lamp that each ray looks at."""
  spot = jnp.asarray(PATTERN)[:, phase]  # [4, L, 2]
  lamps = stage.lamps
  return tuple(
    lamps.center[:, i, None]
    + lamps.half_right[:, i, None] * spot[..., 0]
    + lamps.half_up[:, i, None] * spot[..., 1]
    for i in range(3)
  )


def hidden_lamps(
  stage: Stage, hit: Hits, targets: Targets, pairs: Listed
) -> Hidden:
  """Whether objects stand between surface points and points on the lamps.

  Args:
    stage: The scene.
    hit: The surface points.
    targets: Points on the lamps.
    pairs: What to try: lamp * MAX_OBJECTS + object.
  """
  indices, count = pairs

  def try_pair(k, hidden):
    lamp, i = indices[k] // MAX_OBJECTS, indices[k] % MAX_OBJECTS
    direction = subtract(tuple(t[lamp] for t in targets), hit.point)
    found = _enter(stage, i, hit.point, direction)
    # No object is above a lamp: what a ray meets, it meets before the lamp.
    row = hidden[lamp] | ((found < jnp.inf) & (hit.index != i))
    return hidden.at[lamp].set(row)

  start = jnp.zeros((NUM_LAMPS, *hit.index.shape), bool)
  return jax.lax.fori_loop(0, count, try_pair, start)


def all_objects(stage: Stage) -> Listed:
  """Candidates for `hits`: every object."""
  return jnp.arange(MAX_OBJECTS), stage.count


def all_pairs(stage: Stage) -> Listed:
  """Pairs for `hidden_lamps`: every lamp with every object."""
  k = jnp.arange(NUM_LAMPS * MAX_OBJECTS)
  pairs = k % NUM_LAMPS * MAX_OBJECTS + k // NUM_LAMPS
  return pairs, NUM_LAMPS * stage.count


def objects_in_cone(stage: Stage, origin, direction: Vectors) -> Listed:
  """Candidates for rays with one common origin."""
  rays = unit(direction)
  axis = unit(tuple(r.mean() for r in rays))
  cosine = jnp.clip(dot(rays, axis).min(), 0, 1)
  center = subtract(vector(stage.objects.center), origin)  # [N]
  along = dot(center, axis)
  across = jnp.sqrt(jnp.maximum(dot(center, center) - along * along, 0))
  # Distance of the sphere's centre from the cone's side.
  gap = across * cosine - along * jnp.sqrt(1 - cosine * cosine)
  return _listed(gap <= stage.objects.bound * 1.001, stage.count)


def pairs_near(stage: Stage, hit: Hits) -> Listed:
  """Pairs for `hidden_lamps`: objects that can shade one of the points.

  Around all points and around each lamp a sphere is laid; what is outside the
  cone that joins the two cannot stand between them.
  """
  there = hit.index < NOTHING
  low = [jnp.where(there, p, jnp.inf).min() for p in hit.point]
  high = [jnp.where(there, p, -jnp.inf).max() for p in hit.point]
  middle = scale(add(low, high), 0.5)
  size = scale(subtract(high, low), 0.5)
  radius = jnp.sqrt(dot(size, size))
  lamps, objects = stage.lamps, stage.objects
  right, up = vector(lamps.half_right), vector(lamps.half_up)
  lamp_radius = jnp.sqrt(dot(right, right) + dot(up, up))[:, None]
  toward = subtract(vector(lamps.center), middle)
  toward = tuple(t[:, None] for t in toward)
  center = subtract(vector(objects.center), middle)  # [N]
  square = dot(toward, toward)
  share = dot(center, toward) / square  # of the way to the lamp
  away = subtract(center, scale(toward, share))
  narrowing = (radius - lamp_radius) * (radius - lamp_radius) / square
  reach = radius + (lamp_radius - radius) * share + objects.bound
  shades = dot(away, away) * (1 - narrowing) <= reach * reach * 1.001
  # A cone that widens so fast may hold anything; what is behind never shades.
  shades |= narrowing > 0.9
  shades &= share * jnp.sqrt(square) > -radius - objects.bound
  shades &= there.any()  # [4, N]
  shades &= jnp.arange(MAX_OBJECTS) < stage.count
  return _listed(shades.ravel(), NUM_LAMPS * MAX_OBJECTS)


def _listed(wanted: Bool[Array, " K"], count) -> Listed:
  """Indices of the true entries, and how many there are of them."""
  wanted &= jnp.arange(wanted.size) < count
  rank = jnp.cumsum(wanted) - 1
  place = jnp.where(wanted, rank, wanted.size)
  indices = jnp.zeros(wanted.size, jnp.int32)
  indices = indices.at[place].set(jnp.arange(wanted.size), mode="drop")
  return indices, wanted.sum()
