"""Draws many scenes: to PNG files, or to whatever else pictures are for."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath
from typing import TypeVar

import numpy as np
from PIL import Image

from data_prep.rendering.camera import FRAME
from data_prep.rendering.engine import render
from rn_jax.host.atomic import replacing
from rn_jax.host.pool import Pool
from rn_jax.host.progress import Bar

_BATCH = 64  # pictures; used while the next are drawn
_BATCHES_PER_UNIT = 4

Result = TypeVar("Result")


def draw_files(
  scenes: Iterable[dict],
  folder: PurePath,
  size: tuple[int, int],
  *,
  pool: Pool,
  hidden: PurePath,
  bar: Bar,
  frame: tuple[int, int] = FRAME,
) -> None:
  """Draws scenes to PNG files, called as the scenes say.

  Args:
    scenes: In CLEVR's JSON layout.
    folder: Where the files go; see rn_jax.host.paths.place.
    size: Width and height in pixels.
    pool: Who draws; one process keeps all cores busy.
    hidden: A folder for Beam's use meanwhile.
    bar: Shows how many are drawn.
    frame: Width and height of the pictures that the scenes were made for.

  Raises:
    ValueError: A scene is not as CLEVR describes scenes.
  """
  pool = pool.of_one_process()
  update = bar.update if pool.is_here else None
  shared = (folder.absolute(), size, frame, update)
  units = _batches(scenes, _BATCH * _BATCHES_PER_UNIT)
  for _ in pool.do(_draw_unit, units, folder=hidden, shared=shared):
    pass
  if not pool.is_here:
    bar.update(bar.total - bar.n)


def _draw_unit(
  folder: PurePath,
  size: tuple[int, int],
  frame: tuple[int, int],
  update: Callable[[], object] | None,
  scenes: list[dict],
) -> dict[str, int]:
  def write(scene: dict, pixels: np.ndarray) -> None:
    with replacing(folder / scene["image_filename"]) as temporary:
      Image.fromarray(pixels).save(temporary, format="PNG")

  for _ in drawn(scenes, size, write, frame):
    if update:
      update()
  return {"pictures": len(scenes)}


def drawn(
  scenes: Iterable[dict],
  size: tuple[int, int],
  use: Callable[[dict, np.ndarray], Result],
  frame: tuple[int, int] = FRAME,
) -> Iterator[Result]:
  """Draws scenes and yields what `use` makes of scene and pixels.

  One batch is used by threads while the next is drawn.
  """
  with ThreadPoolExecutor() as threads:
    waiting = []
    for batch in _batches(scenes, _BATCH):
      pixels = render(batch, *size, frame=frame)
      yield from (used.result() for used in waiting)
      waiting = [
        threads.submit(use, *pair) for pair in zip(batch, pixels, strict=True)
      ]
    yield from (used.result() for used in waiting)


def _batches(scenes: Iterable[dict], size: int) -> Iterator[list[dict]]:
  batch = []
  for scene in scenes:
    batch.append(scene)
    if len(batch) == size:
      yield batch
      batch = []
  if batch:
    yield batch
