"""Draws the pictures of CLEVR scenes, without Blender.

    python -m data_prep.render --clevr_dir=DIR --split=val

draws every scene of DIR/scenes/CLEVR_val_scenes.json, 480x320 unless told
otherwise, as DIR/images/val/CLEVR_val_000000.png and so on. Pictures that are
there already are kept: run it again after an interruption.
"""

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from PIL import Image
from tqdm import tqdm

from data_prep.conversion.clevr_json import SourceError, read_elements
from data_prep.rendering.camera import (
  HEIGHT,
  POSITION,
  WIDTH,
  axes_of,
  camera_of,
)
from data_prep.rendering.lamps import lamps_of
from data_prep.rendering.picture import SMALL_TILES, WHOLE, picture
from data_prep.rendering.scene_arrays import objects_of, padded
from data_prep.rendering.trace import Stage
from rn_jax.data.images import ImageError, opened
from rn_jax.host.atomic import replacing

# Pictures drawn at once on an accelerator. The last batch is filled up, so that
# a picture comes out the same whatever else is drawn.
_BATCH = 16

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
) -> np.ndarray:
  """Draws scenes.

  A picture depends on its scene and size alone, not on the others. All sizes
  show the frame of CLEVR's 480x320, stretched where the sides have another
  ratio, as networks read CLEVR.

  Args:
    scenes: In CLEVR's JSON. Camera and lamps are the scene's own "camera" and
      "lamps"; else the camera is recovered from pixel_coords, and the lamps are
      where they are before the generator moves them.
    width: In pixels.
    height: In pixels.
    lamps: Positions of the lamps, for each scene, to use instead.

  Returns:
    uint8 [B, height, width, 3].

  Raises:
    ValueError: A scene is not as CLEVR describes scenes, or a size is not
      positive.
  """
  if width < 1 or height < 1:
    raise ValueError(f"size {width}x{height} must be positive")
  if not scenes:
    return np.zeros((0, height, width, 3), np.uint8)
  replayed = lamps if lamps is not None else [None] * len(scenes)
  stages = [stage_of(*pair) for pair in zip(scenes, replayed, strict=True)]
  if jax.default_backend() == "cpu":
    return _one_by_one(stages, width, height)
  return _in_batches(stages, width, height)


def stage_of(scene: dict, lamps: Mapping | None = None) -> Stage:
  """A scene as the arrays that the renderer takes.

  Raises:
    ValueError: It is not as CLEVR describes scenes; the message names it.
  """
  try:
    camera = camera_of(scene)
    objects = objects_of(scene)
    return Stage(
      camera=camera.astype(np.float32),
      axes=np.array(axes_of(camera), np.float32),
      objects=padded(objects),
      count=np.int32(len(objects.scale)),
      lamps=lamps_of(scene, lamps),
    )
  except ValueError as error:
    name = scene.get("image_filename", "a scene")
    raise ValueError(f"{name}: {error}") from error


@functools.cache
def _draw_one(width: int, height: int):
  """Compiled for one picture, on a CPU."""
  draw = functools.partial(
    picture, width=width, height=height, plan=SMALL_TILES
  )
  lowered = jax.jit(draw).lower(stage_of(_EXAMPLE))
  try:
    return lowered.compile(compiler_options=_CPU_OPTIONS)
  except jax.errors.JaxRuntimeError:  # another XLA, without this option
    return lowered.compile()


@functools.cache
def _draw_batch(width: int, height: int):
  """Compiles itself for pictures [_BATCH, height, width, 3]."""
  draw = functools.partial(picture, width=width, height=height, plan=WHOLE)
  return jax.jit(jax.vmap(draw))


def _one_by_one(stages: Sequence[Stage], width: int, height: int) -> np.ndarray:
  """A thread per core, each with pictures of its own: no two share work."""
  draw = _draw_one(width, height)
  with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
    return np.stack(list(pool.map(lambda s: np.asarray(draw(s)), stages)))


def _in_batches(stages: Sequence[Stage], width: int, height: int) -> np.ndarray:
  draw = _draw_batch(width, height)
  pictures = []
  for start in range(0, len(stages), _BATCH):
    batch = list(stages[start : start + _BATCH])
    number = len(batch)
    batch += batch[-1:] * (_BATCH - number)
    stacked = jax.tree.map(lambda *rows: np.stack(rows), *batch)
    pictures.append(np.asarray(draw(stacked))[:number])
  return np.concatenate(pictures)


def render_split(
  clevr_dir: str | os.PathLike,
  split: str,
  output_dir: str | os.PathLike | None = None,
  *,
  width: int = WIDTH,
  height: int = HEIGHT,
) -> Path:
  """Draws the scenes of a CLEVR folder; pictures already there are kept.

  Args:
    clevr_dir: Folder with `scenes/CLEVR_<split>_scenes.json`.
    split: Name of the split.
    output_dir: Where `images/<split>/` goes; by default, `clevr_dir`.
    width: In pixels.
    height: Likewise.

  Returns:
    The folder of the pictures.

  Raises:
    SourceError: The scenes file is missing or damaged, or a scene of it.
    ValueError: A picture that is there has another size.
  """
  path = Path(clevr_dir) / "scenes" / f"CLEVR_{split}_scenes.json"
  folder = Path(output_dir or clevr_dir) / "images" / split
  scenes = list(read_elements(path, "scenes", hashlib.sha256()))
  for i, scene in enumerate(scenes):
    name = scene.get("image_filename")
    # Nothing a file says may name a place outside the folder.
    if not isinstance(name, str) or not name or name != Path(name).name:
      raise SourceError(f"{path}: scene {i}: image_filename is {name!r}")
  missing = [
    s
    for s in scenes
    if not _is_drawn(folder / s["image_filename"], (width, height))
  ]
  folder.mkdir(parents=True, exist_ok=True)
  with tqdm(
    total=len(scenes),
    initial=len(scenes) - len(missing),
    unit=" images",
    desc=split,
  ) as progress:
    for start in range(0, len(missing), _BATCH):
      batch = missing[start : start + _BATCH]
      try:
        pictures = render(batch, width, height)
      except ValueError as error:
        raise SourceError(f"{path}: {error}") from error
      for scene, pixels in zip(batch, pictures, strict=True):
        with replacing(folder / scene["image_filename"]) as temporary:
          Image.fromarray(pixels).save(temporary, format="PNG")
      progress.update(len(batch))
  return folder


def _is_drawn(path: Path, size: tuple[int, int]) -> bool:
  if not path.exists():
    return False
  try:
    with opened(path) as image:
      found = image.size
  except ImageError as error:
    raise ImageError(f"{error}; remove it") from error
  if found != size:
    raise ValueError(
      f"{path} has {found[0]}x{found[1]} pixels, not {size[0]}x{size[1]}; "
      "choose another output_dir, or remove the folder"
    )
  return True


def _define_flags() -> None:
  # Not at import: other programs import this module for `render`.
  flags.DEFINE_string("clevr_dir", None, "CLEVR folder.", required=True)
  flags.DEFINE_string("split", None, "Split to draw.", required=True)
  flags.DEFINE_string(
    "output_dir", None, "Where images/ goes; not given: the CLEVR folder."
  )
  flags.DEFINE_integer("width", WIDTH, "Pixels.", lower_bound=1)
  flags.DEFINE_integer("height", HEIGHT, "Pixels.", lower_bound=1)
  flags.DEFINE_integer(
    "image_size", None, "Pixels of both sides, instead.", lower_bound=1
  )


def _main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments {argv[1:]}")
  given = flags.FLAGS
  try:
    folder = render_split(
      given.clevr_dir,
      given.split,
      given.output_dir,
      width=given.image_size or given.width,
      height=given.image_size or given.height,
    )
  except (ValueError, OSError) as error:
    raise SystemExit(f"error: {error}") from error
  print(f"Images of {given.split} are in {folder}")


if __name__ == "__main__":
  _define_flags()
  app.run(_main)
