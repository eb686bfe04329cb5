"""Samples scenes by CLEVR's rules, without drawing them.

A scene is a dict in CLEVR's own JSON layout. Scene i of a split depends on
(seed, split, i) alone, so any number of processes makes the same data.

CLEVR also rejects scenes in which an object is nearly hidden; `sample_scene`
takes a predicate for that (data_prep.rendering.visibility_rule).
"""

import math
import random
from collections.abc import Callable, Mapping

from data_prep.chance import pick, random_stream
from data_prep.generation import staging as staging_facts
from data_prep.generation.staging import Staging
from data_prep.rendering import camera as camera_facts
from data_prep.rendering import lamps as lamp_facts
from data_prep.rendering.camera import TAN_X
from data_prep.world import CLEVR, World
from rn_jax.clevr import (
  BEHIND,
  DIRECTIONS,
  HEIGHT,
  MAX_OBJECTS,
  RIGHT,
  WIDTH,
)

MIN_GAP = 0.25  # between two surfaces
MIN_OFFSET = 0.4  # between two centres, along each of the four directions
RELATION_MARGIN = 0.2
MAX_TRIES = 50  # per object, before the scene starts over
_ATTEMPTS = 20_000  # per scene, before it is given up

# The splits, and the condition (of CLEVR CoGenT) that governs their colours.
SPLITS = {
  "train": None,
  "val": None,
  "test": None,
  "trainA": "A",
  "valA": "A",
  "testA": "A",
  "valB": "B",
  "testB": "B",
}

_COGENT = (
  ("gray", "blue", "brown", "yellow"),
  ("red", "green", "purple", "cyan"),
)


def colors_of(
  shape: str, condition: str | None, world: World = CLEVR
) -> tuple[str, ...]:
  """The colours a shape may have; `condition` is None, "A" or "B" (CoGenT)."""
  if condition is None or shape == "sphere":
    return tuple(world.colors)
  return _COGENT[(shape == "cylinder") ^ (condition == "B")]


def sample_camera(
  seed: int, split: str, index: int, staging: Staging = staging_facts.CLEVR
) -> tuple[float, ...]:
  """Position of the jittered camera of a scene, in world units."""
  rng = random_stream("camera", seed, split, index)
  jitter = staging.camera_jitter
  return tuple(
    c + jitter * (2 * rng.random() - 1) for c in staging.camera_position
  )


def sample_lamps(
  seed: int, split: str, index: int, staging: Staging = staging_facts.CLEVR
) -> dict[str, list[float]]:
  """Positions of the jittered lamps of a scene, in world units."""
  rng = random_stream("lamps", seed, split, index)
  jitter = staging.lamp_jitter
  return {
    name: [round(c + jitter * (2 * rng.random() - 1), 6) for c in position]
    for name, position in lamp_facts.POSITIONS.items()
  }


def project(
  point: list[float], camera: tuple[float, ...] = camera_facts.POSITION
) -> tuple[float, float, float]:
  """Projects a world point; the camera looks at the origin, without roll.

  Returns:
    Column and row in pixels of a 480x320 picture (real numbers, the row counts
    downwards), and the depth along the optical axis in world units.
  """
  distance = math.hypot(*camera)
  back = [c / distance for c in camera]
  level = math.hypot(back[0], back[1])
  right = (-back[1] / level, back[0] / level)
  up = (-back[2] * right[1], back[2] * right[0], level)
  x, y, z = point
  depth = distance - (x * back[0] + y * back[1] + z * back[2])
  scale = WIDTH / 2 / TAN_X / depth
  column = WIDTH / 2 + scale * (x * right[0] + y * right[1])
  row = HEIGHT / 2 - scale * (x * up[0] + y * up[1] + z * up[2])
  return column, row, depth


def relationships(
  coordinates: list[list[float]], directions: dict = DIRECTIONS
) -> dict[str, list[list[int]]]:
  """Lists, for each relation and object i, the objects that are so of i.

  Args:
    coordinates: World coordinates of the objects, [N, 3].
    directions: Unit vectors of the relations, each [3].
  """
  result = {}
  for name in ("right", "behind", "left", "front"):
    dx, dy, _ = directions[name]
    along = [c[0] * dx + c[1] * dy for c in coordinates]
    result[name] = [
      [j for j, a in enumerate(along) if a - origin > RELATION_MARGIN]
      for origin in along
    ]
  return result


def sample_scene(
  seed: int,
  split: str,
  index: int,
  *,
  min_objects: int = 3,
  max_objects: int = MAX_OBJECTS,
  accept: Callable[[dict], bool] | None = None,
  staging: Staging = staging_facts.CLEVR,
  world: World = CLEVR,
) -> dict:
  """Samples scene `index` of a split.

  Args:
    seed: Seed of the data set.
    split: A key of SPLITS; CoGenT's splits restrict colours.
    index: Number of the scene in the split, from 0.
    min_objects: Fewest objects; their number is uniform.
    max_objects: Most objects.
    accept: Judges a finished scene; a refused one starts over with as many
      objects and the same camera.
    staging: Camera, lamps and ground.
    world: What objects can be; CoGenT's splits are of CLEVR's.

  Returns:
    The scene in CLEVR's JSON layout, and besides, what a renderer needs to
    know: the positions of "camera" and "lamps"; "background" and "properties"
    where they are not CLEVR's.

  Raises:
    KeyError: Unknown split.
    ValueError: No scene was to be found.
  """
  condition = SPLITS[split]
  rng = random_stream("scene", seed, split, index)
  camera = sample_camera(seed, split, index, staging)
  lamps = sample_lamps(seed, split, index, staging)
  count = min_objects + int(rng.random() * (max_objects - min_objects + 1))
  for _ in range(_ATTEMPTS):
    placed = _place(rng, count, world.sizes)
    if placed is None:
      continue
    objects = [_dress(rng, *p, condition, camera, world) for p in placed]
    scene = {
      "split": split,
      "image_index": index,
      "image_filename": f"CLEVR_{split}_{index:06d}.png",
      "objects": objects,
      "relationships": relationships([o["3d_coords"] for o in objects]),
      "directions": DIRECTIONS,
      "camera": list(camera),
      "lamps": lamps,
    }
    if staging.background is not None:
      scene["background"] = list(staging.background)
    if world != CLEVR:
      scene["properties"] = world.to_json()
    if accept is None or accept(scene):
      return scene
  raise ValueError(
    f"scene {index} of {split} with {count} objects was not to be made in "
    f"{_ATTEMPTS:,} attempts: they do not fit beside each other, or some show "
    "too little. Take fewer or smaller objects, a lower min_visible_pixels, or "
    "a camera that is nearer"
  )


def _place(
  rng: random.Random, count: int, sizes: Mapping[str, float]
) -> list[tuple] | None:
  """Places objects: (x, y, size) each; None when one does not fit."""
  (right_x, right_y, _), (behind_x, behind_y, _) = RIGHT, BEHIND
  low, high = -MIN_OFFSET, MIN_OFFSET
  names = tuple(sizes)
  taken = []  # position along right and behind, radius
  placed = []
  for _ in range(count):
    size = pick(rng, names)
    radius = sizes[size]
    for _ in range(MAX_TRIES):
      x = round(6 * rng.random() - 3, 6)
      y = round(6 * rng.random() - 3, 6)
      right = x * right_x + y * right_y
      behind = x * behind_x + y * behind_y
      for r, b, other in taken:
        if (
          low < right - r < high
          or low < behind - b < high
          or math.hypot(right - r, behind - b) - radius - other < MIN_GAP
        ):
          break
      else:
        break
    else:
      return None
    taken.append((right, behind, radius))
    placed.append((x, y, size))
  return placed


def _dress(
  rng: random.Random,
  x: float,
  y: float,
  size: str,
  condition: str | None,
  camera: tuple[float, ...],
  world: World,
) -> dict:
  """Gives a placed object its looks and its place in the picture."""
  shape = pick(rng, tuple(world.shapes))
  coordinates = [x, y, world.sizes[size]]
  column, row, depth = project(coordinates, camera)
  return {
    "color": pick(rng, colors_of(shape, condition, world)),
    "size": size,
    "shape": shape,
    "material": pick(rng, tuple(world.materials)),
    "rotation": round(360 * rng.random(), 6),
    "3d_coords": coordinates,
    "pixel_coords": [round(column), round(row), round(depth, 6)],
  }
