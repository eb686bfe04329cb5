"""Pictures of scenes: primary rays, and the reflections in metal.

The samples of a picture are worked on tile by tile. On a CPU a tile is small:
its arrays stay in the cache, and of objects and lamps only those that matter
there are tried. On an accelerator a tile is the whole picture and every object
is tried, which wastes rays but keeps all lanes in step. Both give the same.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped, UInt8

from data_prep.rendering import film, highlights, materials, shade, trace
from data_prep.rendering.highlights import Cone
from data_prep.rendering.lamps import PHASE
from data_prep.rendering.trace import NOTHING, Hits, Stage
from data_prep.rendering.vectors import Indices, Vectors, add, scale

_ROUGH_RAYS = 2
# Width of the lobe for which each rough ray of a pixel's four samples stands.
_ROUGH_PART = materials.ROUGH_ALPHA / (4 * _ROUGH_RAYS) ** 0.5
# Radiance, per unit of its colour, of metal seen in metal seen in metal: that
# of the lit floor.
_UNSEEN = 0.25


class Plan(NamedTuple):
  """How the work on a picture is cut.

  Attributes:
    tile: Side of a tile in samples, a multiple of 4; 0 for the whole picture.
    lanes: Metal samples whose reflections are traced at once.
    inner_lanes: Reflections whose reflections are traced at once.
  """

  tile: int
  lanes: int
  inner_lanes: int


SMALL_TILES = Plan(tile=32, lanes=256, inner_lanes=128)
WHOLE = Plan(tile=0, lanes=4096, inner_lanes=2048)


def picture(
  stage: Stage, width: int, height: int, plan: Plan
) -> UInt8[Array, "{height} {width} 3"]:
  """Draws one scene."""
  rows, columns = film.SAMPLES * height, film.SAMPLES * width
  light = _by_tiles(_light, stage, rows, columns, plan)
  return film.develop(light, width, height)


def index_picture(
  stage: Stage, width: int, height: int, plan: Plan
) -> Int[Array, "{height} {width}"]:
  """What a ray through the middle of each pixel meets.

  An object's index, trace.GROUND or trace.NOTHING.
  """
  return _by_tiles(_index, stage, height, width, plan)[..., 0]


def _by_tiles(
  function, stage: Stage, rows: int, columns: int, plan: Plan
) -> Shaped[Array, "{rows} {columns} C"]:
  """Puts together what a function such as `_light` makes of all tiles."""
  high, wide = (plan.tile or rows), (plan.tile or columns)
  down, across = -(-rows // high), -(-columns // wide)
  row, column = (a.ravel() for a in np.indices((high, wide)))
  phase = jnp.asarray(PHASE[row % 4, column % 4])
  footprint = film.footprint(rows, columns)

  def tile(k):
    y = row + k // across * high
    x = column + k % across * wide
    rays = film.directions(stage.axes, y, x, rows, columns)
    return jnp.stack(function(stage, rays, phase, footprint, plan))

  tiles = jax.lax.map(tile, jnp.arange(down * across))
  tiles = tiles.reshape(down, across, -1, high, wide)
  tiles = tiles.transpose(0, 3, 1, 4, 2)
  whole = tiles.reshape(down * high, across * wide, -1)
  return whole[:rows, :columns]


def _primary(stage: Stage, rays: Vectors, plan: Plan) -> Hits:
  camera = tuple(stage.camera)
  own = jnp.full(rays[0].shape, NOTHING)
  if plan.tile:
    candidates = trace.objects_in_cone(stage, camera, rays)
  else:
    candidates = trace.all_objects(stage)
  return trace.hits(stage, camera, rays, own, candidates)


def _index(stage: Stage, rays, phase, footprint, plan: Plan) -> tuple:
  del phase, footprint
  return (_primary(stage, rays, plan).index,)


def _light(
  stage: Stage, rays: Vectors, phase: Indices, footprint: float, plan: Plan
) -> Vectors:
  """Linear RGB of the samples of a tile."""
  hit = _primary(stage, rays, plan)
  near = trace.pairs_near(stage, hit) if plan.tile else trace.all_pairs(stage)
  targets = trace.lamp_samples(stage, phase)
  hidden = trace.hidden_lamps(stage, hit, targets, near)
  total = shade.matte(stage, hit, hidden)
  metal = shade.is_metal(stage, hit.index)
  cone = Cone(hit.distance * footprint, jnp.full(phase.shape, footprint))
  reflections = partial(_reflections, stage, plan=plan)
  lanes = hit, phase, hidden.T, cone
  mirrored = _on_some(reflections, metal, lanes, plan.lanes)
  return _surfaces(hit, metal, mirrored, total)


def _surfaces(hit: Hits, metal, mirrored: Vectors, matte: Vectors) -> Vectors:
  """What metal mirrors, other surfaces' own light, and black beside them."""
  return tuple(
    jnp.where(metal, m, jnp.where(hit.index < NOTHING, t, 0))
    for m, t in zip(mirrored, matte, strict=True)
  )


def _on_some(function, wanted: Bool[Array, " L"], lanes, chunk: int) -> Vectors:
  """Applies a function of lanes to the wanted ones only, chunk by chunk.

  Args:
    function: From a tree of arrays [chunk, ...] to a tuple RGB of [chunk].
    wanted: Which lanes.
    lanes: Tree of arrays [L, ...].
    chunk: How many at once.

  Returns:
    RGB; some value where not wanted.
  """
  size = wanted.size
  chunk = min(chunk, size)
  rank = jnp.cumsum(wanted) - 1
  place = jnp.where(wanted, rank, size + chunk)
  picked = jnp.zeros(size + chunk, jnp.int32)
  picked = picked.at[place].set(jnp.arange(size), mode="drop")

  def step(k, results):
    here = jax.lax.dynamic_slice(picked, (k * chunk,), (chunk,))
    found = jnp.stack(function(jax.tree.map(lambda a: a[here], lanes)))
    return jax.lax.dynamic_update_slice(results, found, (0, k * chunk))

  results = jnp.zeros((3, size + chunk))
  number = (wanted.sum() + chunk - 1) // chunk
  results = jax.lax.fori_loop(0, number, step, results)
  return tuple(results[:, jnp.maximum(rank, 0)])


def _reflections(stage: Stage, lanes, plan: Plan) -> Vectors:
  """What metal shows: one mirror ray and some rough ones for each lane."""
  hit, phase, hidden, cone = lanes
  color = shade.color_of(stage, hit.index)
  frame = materials.metal_frame(hit.normal, hit.offset)
  spread = highlights.spread_of(stage, hit, frame, cone)
  total = highlights.light(stage, hit, frame, spread, hidden.T)
  rays = [materials.reflect(hit.normal, hit.view)]
  weights = [jnp.full(phase.shape, materials.MIRROR_SHARE)]
  angles = [highlights.angle_behind(spread, materials.MIRROR_ALPHA)]
  for k in range(_ROUGH_RAYS):
    ray, weight = materials.rough_reflection(
      frame, hit.normal, hit.view, *jnp.asarray(_ROUGH[..., k])[:, phase % 4]
    )
    rays.append(ray)
    weights.append(weight * materials.ROUGH_SHARE / _ROUGH_RAYS)
    angles.append(highlights.angle_behind(spread, _ROUGH_PART))
  number = len(rays)
  rays = tuple(jnp.concatenate(c) for c in zip(*rays, strict=True))
  origin = tuple(jnp.tile(p, number) for p in hit.point)
  own = jnp.tile(hit.index, number)
  cone = Cone(jnp.tile(cone.width, number), jnp.concatenate(angles))
  seen = _secondary(
    stage, origin, rays, own, jnp.tile(phase, number), cone, plan
  )
  size = phase.size
  for k, weight in enumerate(weights):
    part = tuple(c[k * size : (k + 1) * size] for c in seen)
    total = add(total, scale(part, weight))
  return tuple(c * t for c, t in zip(color, total, strict=True))


def _rough_pattern() -> Float[np.ndarray, "3 4 rays"]:
  """Cosine and sine of an angle, and a height in (0, 1).

  Sunflower points, dealt out to the samples of a 2x2 block. A pattern of that
  size does not show: all pixels weigh the four samples alike.
  """
  number = 4 * _ROUGH_RAYS
  k = np.arange(number)
  angle = k * np.pi * (3 - np.sqrt(5))
  points = np.stack([np.cos(angle), np.sin(angle), (k + 0.5) / number])
  return points.reshape(3, _ROUGH_RAYS, 4).swapaxes(1, 2).astype(np.float32)


_ROUGH = _rough_pattern()


def _secondary(
  stage: Stage,
  origin: Vectors,
  rays: Vectors,
  own: Indices,
  phase: Indices,
  cone: Cone,
  plan: Plan,
) -> Vectors:
  """Radiance (RGB) that reflected rays bring; `cone` is that of their start."""
  hit = trace.hits(stage, origin, rays, own, trace.all_objects(stage))
  near = trace.pairs_near(stage, hit) if plan.tile else trace.all_pairs(stage)
  targets = trace.lamp_samples(stage, phase)
  hidden = trace.hidden_lamps(stage, hit, targets, near)
  total = shade.matte(stage, hit, hidden)
  metal = shade.is_metal(stage, hit.index)
  inner = partial(_inner_reflections, stage)
  width = cone.width + cone.angle * hit.distance
  lanes = hit, phase, hidden.T, Cone(width, cone.angle)
  mirrored = _on_some(inner, metal, lanes, plan.inner_lanes)
  return _surfaces(hit, metal, mirrored, total)


def _inner_reflections(stage: Stage, lanes) -> Vectors:
  """What metal shows in metal: a mirror ray only, for both of its parts."""
  hit, phase, hidden, cone = lanes
  color = shade.color_of(stage, hit.index)
  frame = materials.metal_frame(hit.normal, hit.offset)
  spread = highlights.spread_of(stage, hit, frame, cone)
  lamps = highlights.light(stage, hit, frame, spread, hidden.T)
  ray = materials.reflect(hit.normal, hit.view)
  seen = trace.hits(stage, hit.point, ray, hit.index, trace.all_objects(stage))
  targets = trace.lamp_samples(stage, phase)
  hidden = trace.hidden_lamps(stage, seen, targets, trace.all_pairs(stage))
  last = shade.matte(stage, seen, hidden)
  metal = shade.is_metal(stage, seen.index)
  unseen = shade.color_of(stage, seen.index)
  unseen = tuple(
    c * (_UNSEEN * t) for c, t in zip(unseen, stage.tint, strict=True)
  )
  total = add(_surfaces(seen, metal, unseen, last), lamps)
  return tuple(c * t for c, t in zip(color, total, strict=True))
