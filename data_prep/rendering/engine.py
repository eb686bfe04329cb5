"""Draws scenes with the renderer, compiled for a CPU or an accelerator."""

import functools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from jaxtyping import UInt8

from data_prep.rendering import geometry
from data_prep.rendering.camera import (
  FRAME,
  POSITION,
  TAN_X,
  TAN_Y,
  axes_of,
  camera_of,
  tangents,
)
from data_prep.rendering.ground import tint_of
from data_prep.rendering.lamps import lamps_of
from data_prep.rendering.picture import SMALL_TILES, WHOLE, picture
from data_prep.rendering.scene_arrays import objects_of, padded
from data_prep.rendering.trace import Stage
from rn_jax.clevr import HEIGHT, WIDTH

# Goes up when a scene's picture changes: pictures of two looks shall not mix.
VERSION = 2

# Pictures drawn at once on an accelerator. The last batch is filled up, so that
# a picture comes out the same whatever else is drawn.
BATCH = 16

# On a CPU, XLA's older way to emit loops makes vector instructions of long
# formulas where the newer one does not: twice as fast.
_CPU_OPTIONS = {"xla_cpu_use_fusion_emitters": False}
_EXAMPLE = {
  "camera": POSITION,
  "objects": [
    {
      "shape": "sphere",
      "size": "small",
      "material": "rubber",
      "color": "gray",
      "3d_coords": (0, 0, 0.35),
      "rotation": 0,
    }
  ],
}


def render(
  scenes: Sequence[dict],
  width: int = WIDTH,
  height: int = HEIGHT,
  *,
  lamps: Sequence[Mapping] | None = None,
  frame: tuple[int, int] = FRAME,
) -> UInt8[np.ndarray, "B {height} {width} 3"]:
  """Draws scenes.

  A picture depends on its scene and size alone, not on the others. All sizes
  show the same frame, stretched where the sides have another ratio, as networks
  read CLEVR.

  Args:
    scenes: In CLEVR's JSON. Camera, lamps and colour of the ground are the
      scene's own "camera", "lamps" and "background"; else the camera is
      recovered from pixel_coords, and the lamps are where they are before the
      generator moves them.
    width: In pixels.
    height: In pixels.
    lamps: Positions of the lamps, for each scene, to use instead.
    frame: Width and height of the pictures that the scenes' pixel_coords belong
      to; their ratio is that of the frame that is shown.

  Raises:
    ValueError: A scene is not as CLEVR describes scenes, or a size is not
      positive.
  """
  if width < 1 or height < 1:
    raise ValueError(f"size {width}x{height} must be positive")
  if not scenes:
    return np.zeros((0, height, width, 3), np.uint8)
  replayed = lamps if lamps is not None else [None] * len(scenes)
  stages = [
    stage_of(*pair, frame) for pair in zip(scenes, replayed, strict=True)
  ]
  if jax.default_backend() == "cpu":
    return _one_by_one(stages, width, height)
  return _in_batches(stages, width, height)


def stage_of(
  scene: dict,
  lamps: Mapping | None = None,
  frame: tuple[int, int] = FRAME,
) -> Stage:
  """A scene as the arrays that the renderer takes.

  Raises:
    ValueError: It is not as CLEVR describes scenes; the message names it.
  """
  try:
    camera = camera_of(scene, frame)
    right, up, back = axes_of(camera)
    tan_x, tan_y = tangents(frame)
    objects = objects_of(scene)
    return Stage(
      camera=camera.astype(np.float32),
      axes=np.array(
        (right * (tan_x / TAN_X), up * (tan_y / TAN_Y), back), np.float32
      ),
      objects=padded(objects),
      count=np.int32(len(objects.scale)),
      lamps=lamps_of(scene, lamps),
      tint=tint_of(scene),
      bounds=_bounds(objects.shape),
    )
  except ValueError as error:
    name = scene.get("image_filename", "a scene")
    raise ValueError(f"{name}: {error}") from error


def _bounds(shapes: np.ndarray) -> np.ndarray:
  """See Stage: what CLEVR does not have costs only pictures that have it."""
  few = shapes.max() < geometry.NUM_CLEVR
  number = geometry.NUM_CLEVR if few else len(geometry.SOLIDS)
  return np.array(geometry.BOUNDING_RADIUS[:number], np.float32)


@functools.cache
def _draw_one(width: int, height: int, num_solids: int):
  """Compiled for one picture, on a CPU."""
  draw = functools.partial(
    picture, width=width, height=height, plan=SMALL_TILES
  )
  bounds = np.array(geometry.BOUNDING_RADIUS[:num_solids], np.float32)
  example = stage_of(_EXAMPLE)._replace(bounds=bounds)
  lowered = jax.jit(draw).lower(example)
  try:
    return lowered.compile(compiler_options=_CPU_OPTIONS)
  except jax.errors.JaxRuntimeError:  # another XLA, without this option
    return lowered.compile()


@functools.cache
def _draw_batch(width: int, height: int):
  """Compiles itself for pictures [BATCH, height, width, 3]."""
  draw = functools.partial(picture, width=width, height=height, plan=WHOLE)
  return jax.jit(jax.vmap(draw))


def _one_by_one(stages: Sequence[Stage], width: int, height: int) -> np.ndarray:
  """A thread per core, each with pictures of its own: no two share work."""
  sizes = {len(stage.bounds) for stage in stages}
  draw = {number: _draw_one(width, height, number) for number in sizes}
  with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
    drawn = pool.map(lambda s: np.asarray(draw[len(s.bounds)](s)), stages)
    return np.stack(list(drawn))


def _in_batches(stages: Sequence[Stage], width: int, height: int) -> np.ndarray:
  draw = _draw_batch(width, height)
  pictures = np.empty((len(stages), height, width, 3), np.uint8)
  for number in sorted({len(stage.bounds) for stage in stages}):
    alike = [i for i, s in enumerate(stages) if len(s.bounds) == number]
    for start in range(0, len(alike), BATCH):
      chosen = alike[start : start + BATCH]
      batch = [stages[i] for i in chosen]
      batch += batch[-1:] * (BATCH - len(chosen))
      stacked = jax.tree.map(lambda *rows: np.stack(rows), *batch)
      pictures[chosen] = np.asarray(draw(stacked))[: len(chosen)]
  return pictures
