"""Scenes of CLEVR's JSON as arrays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from data_prep.rendering.geometry import BOUNDING_RADIUS, SOLIDS
from data_prep.world import World, world_of
from rn_jax.clevr import MAX_OBJECTS


class Objects(NamedTuple):
  """The objects of one scene; JAX arrays inside the renderer.

  Attributes:
    center: World coordinates.
    scale: Half side or radius in world units.
    cosine: Of the rotation about the vertical axis.
    sine: Likewise.
    shape: Index into geometry.SOLIDS.
    bound: Radius of the sphere around the object, in world units.
    is_metal: Whether it is of metal, not of rubber.
    color: Linear RGB in [0, 1].
  """

  center: Float[np.ndarray, "N 3"]
  scale: Float[np.ndarray, " N"]
  cosine: Float[np.ndarray, " N"]
  sine: Float[np.ndarray, " N"]
  shape: Int[np.ndarray, " N"]
  bound: Float[np.ndarray, " N"]
  is_metal: Bool[np.ndarray, " N"]
  color: Float[np.ndarray, "N 3"]


def objects_of(scene: dict) -> Objects:
  """The objects of a scene, float32 but for `shape` and `is_metal`.

  Raises:
    ValueError: An object is not as CLEVR describes it.
  """
  rows = scene.get("objects")
  if not isinstance(rows, Sequence) or not rows:
    raise ValueError("the scene has no objects")
  if len(rows) > MAX_OBJECTS:
    raise ValueError(f"{len(rows)} objects; at most {MAX_OBJECTS} can be drawn")
  world = world_of(scene)
  for i, row in enumerate(rows):
    try:
      _check(row, world)
    except (KeyError, TypeError, ValueError) as error:
      raise ValueError(
        f"object {i} is not as CLEVR describes it ({error!r})"
      ) from error
  # The generator hands Blender, which wants radians, the number of degrees.
  rotation = np.array([row["rotation"] for row in rows], float)
  solids = [SOLIDS.index(world.shapes[row["shape"]]) for row in rows]
  shape = np.array(solids, np.int32)
  scale = _floats([world.sizes[row["size"]] for row in rows])
  return Objects(
    center=_floats([row["3d_coords"] for row in rows]),
    scale=scale,
    cosine=_floats(np.cos(rotation)),
    sine=_floats(np.sin(rotation)),
    shape=shape,
    bound=_floats(BOUNDING_RADIUS)[shape] * scale,
    is_metal=np.array(
      [world.materials[row["material"]] == "metal" for row in rows]
    ),
    color=_floats([world.colors[row["color"]] for row in rows])
    / np.float32(255),
  )


def _floats(numbers) -> np.ndarray:
  return np.asarray(numbers, np.float32)


def _check(row: dict, world: World) -> None:
  for name, known in world.values.items():
    if row[name] not in known:
      raise ValueError(f"{name} {row[name]!r} is none of {', '.join(known)}")
  place = np.array(row["3d_coords"], float)
  if place.shape != (3,) or not np.isfinite([*place, row["rotation"]]).all():
    raise ValueError("3d_coords and rotation must be finite numbers")


def padded(objects: Objects) -> Objects:
  """The same with MAX_OBJECTS rows: tiny spheres far below the ground."""
  missing = MAX_OBJECTS - len(objects.scale)
  fill = Objects([0, 0, -1e4], 1e-3, 1, 0, 0, 1e-3, False, [0, 0, 0])

  def pad(rows, row):
    extra = np.broadcast_to(
      np.array(row, rows.dtype), (missing, *rows[0].shape)
    )
    return np.concatenate([rows, extra])

  return Objects(*map(pad, objects, fill))
