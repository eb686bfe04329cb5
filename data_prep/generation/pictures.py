"""Draws the pictures of generated scenes: as PNG files, or for records."""

import functools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from data_prep.conversion.clevr_source import Source
from data_prep.conversion.scene_record import Drawing, encode_image
from data_prep.convert_clevr import convert
from data_prep.generation.job import Job, is_same, make_scene
from data_prep.generation.picture_mark import (
  mark_path,
  read_mark,
  remove_pictures,
  scenes_of,
  write_mark,
)
from data_prep.generation.split_files import read_scenes
from data_prep.rendering.drawing import draw_files, drawn
from data_prep.rendering.engine import VERSION as RENDERER
from rn_jax.host.pool import Pool
from rn_jax.host.progress import progress_bar


def write_files(
  job: Job,
  output_dir: Path,
  size: tuple[int, int],
  pool: Pool,
  overwrite: bool = False,
) -> None:
  """Draws the scenes of a split to PNG files; those that are there are kept.

  Args:
    job: What the split was made from.
    output_dir: Folder with the split, in CLEVR's layout.
    size: Width and height in pixels.
    pool: Who draws.
    overwrite: Replace pictures that were made from other arguments, or by
      another version of the renderer.

  Raises:
    FileExistsError: There are such pictures.
  """
  folder = output_dir / "images" / job.split
  folder.mkdir(parents=True, exist_ok=True)
  mark = mark_path(output_dir, job.split)
  present = _open_folder(folder, mark, describe(job, size), overwrite)

  with progress_bar(
    total=job.num_scenes,
    initial=len(present),  # is no work of this run, nor its rate
    unit=" images",
    desc=f"{job.split} images",
  ) as progress:
    missing = (
      scene
      for scene in read_scenes(job, output_dir)
      if scene["image_filename"] not in present
    )
    hidden = output_dir / f".draw-{job.split}"
    draw_files(missing, folder, size, pool=pool, hidden=hidden, bar=progress)


def write_records(
  job: Job,
  output_dir: Path,
  records_dir: str | os.PathLike,
  size: tuple[int, int],
  image_size: int,
  pool: Pool,
  vocabulary: str | os.PathLike | None = None,
  annotations: bool = False,
) -> None:
  """Converts a split to records, drawing its images on the way.

  Args:
    job: What the split was made from.
    output_dir: Folder with the split, in CLEVR's layout.
    records_dir: Records folder to make or to extend.
    size: Width and height of the images as they are drawn, in pixels.
    image_size: Width and height in the records.
    pool: Who draws and converts.
    vocabulary: Vocabulary file to use.
    annotations: Put those of the split into the records.

  Raises:
    RecordError: The records folder cannot take the split.
  """
  draw = functools.partial(
    draw_for_records, job=job, size=size, image_size=image_size
  )
  convert(
    output_dir,
    records_dir,
    [job.split],
    image_size=image_size,
    vocabulary=vocabulary,
    drawing=Drawing(describe(job, size), draw),
    annotations=annotations,
    beam_options=pool.beam_options,
  )


def draw_for_records(
  sources: Iterable[Source],
  *,
  job: Job,
  size: tuple[int, int],
  image_size: int,
) -> Iterator[bytes]:
  """Yields the images that records hold: contents of PNG files.

  They are the same as if they had been written to files and converted.
  """
  scenes = (
    json.loads(s.scene) if s.scene else make_scene(job, s.image_index)
    for s in sources
  )
  yield from drawn(
    scenes, size, lambda _, p: encode_image(Image.fromarray(p), image_size)
  )


def describe(job: Job, size: tuple[int, int]) -> dict:
  """What pictures depend on."""
  return {
    **scenes_of(job),
    "renderer": RENDERER,
    "width": size[0],
    "height": size[1],
  }


def _open_folder(
  folder: Path, mark: Path, made_from: dict, overwrite: bool
) -> set[str]:
  """Returns the names of the pictures that a folder has, and marks it."""
  present = {path.name for path in folder.glob("*.png")}
  found = read_mark(mark)
  if present and not is_same(found, made_from):
    if found is None:
      raise FileExistsError(
        f"{folder} has pictures that were not made with their scenes; choose "
        "another output_dir, or remove them"
      )
    if not overwrite:
      raise FileExistsError(
        f"{folder} has pictures that were made from other arguments, or by "
        "another version of the renderer; choose another output_dir, or pass "
        "overwrite"
      )
    remove_pictures(folder)
    present = set()
  write_mark(mark, made_from)
  return present
