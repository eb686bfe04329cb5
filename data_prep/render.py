"""Draws the pictures of CLEVR scenes, without Blender.

    python -m data_prep.render --clevr_dir=DIR --split=val

draws every scene of DIR/scenes/CLEVR_val_scenes.json, 480x320 unless told
otherwise, as DIR/images/val/CLEVR_val_000000.png and so on. Pictures that are
there already are kept: run it again after an interruption. For scenes that were
made for pictures of another size, --frame_size=320x240 says which; the pictures
then have that size and show that frame.
"""

import hashlib
import os
import re
from pathlib import Path

from absl import flags, logging

from data_prep.annotation.files import annotate_split
from data_prep.generation.picture_mark import (
  mark_path,
  read_mark,
  write_mark,
)
from data_prep.generation.split_lock import alone
from data_prep.rendering.camera import FRAME
from data_prep.rendering.drawing import draw_files
from data_prep.rendering.engine import VERSION as RENDERER
from rn_jax.data.clevr_json import SourceError, read_elements
from rn_jax.data.images import ImageError, opened
from rn_jax.host import cli
from rn_jax.host.paths import place
from rn_jax.host.pool import Pool, pool_of
from rn_jax.host.progress import progress_bar


def render_split(
  clevr_dir: str | os.PathLike,
  split: str,
  output_dir: str | os.PathLike | None = None,
  *,
  width: int | None = None,
  height: int | None = None,
  frame: tuple[int, int] = FRAME,
  annotations: bool = False,
  beam_options: str | None = None,
) -> Path:
  """Draws the scenes of a CLEVR folder; pictures already there are kept.

  Args:
    clevr_dir: Folder with `scenes/CLEVR_<split>_scenes.json`.
    split: Name of the split.
    output_dir: Where `images/<split>/` goes; by default, `clevr_dir`.
    width: In pixels; not given: that of the frame.
    height: Likewise.
    frame: Width and height of the pictures that the scenes were made for.
    annotations: Write boxes and masks of the objects, too.
    beam_options: Options of Apache Beam, whose workers then draw; see
      docs/beam.md.

  Returns:
    The folder of the pictures.

  Raises:
    SourceError: The scenes file is missing or damaged, or a scene of it.
    ValueError: A picture that is there has another size.
    FileExistsError: There are pictures or annotations of other scenes or of
      another size.
    BusyError: Another run makes pictures of this split in this folder.
  """
  pool = pool_of(None, beam_options)
  size = (
    (frame[0] if width is None else width),
    (frame[1] if height is None else height),
  )
  path = place(clevr_dir) / "scenes" / f"CLEVR_{split}_scenes.json"
  output_dir = place(output_dir or clevr_dir)
  folder = output_dir / "images" / split
  digest = hashlib.sha256()
  scenes = list(read_elements(path, "scenes", digest))
  for i, scene in enumerate(scenes):
    name = scene.get("image_filename")
    # Nothing a file says may name a place outside the folder.
    if not isinstance(name, str) or not name or name != Path(name).name:
      raise SourceError(f"{path}: scene {i}: image_filename is {name!r}")
  with alone(output_dir, split, folder):
    made_from = {
      "scenes_sha256": digest.hexdigest(),
      "frame": list(frame),
      "renderer": RENDERER,
    }
    _check_mark(output_dir, folder, made_from)
    if annotations:
      annotate_split(
        clevr_dir, split, output_dir, size=size, frame=frame, pool=pool
      )
    _draw_missing(scenes, path, folder, size, frame, pool)
  return folder


def _check_mark(output_dir: Path, folder: Path, made_from: dict) -> None:
  """Sees to it that pictures of other scenes are not taken for these.

  Pictures without a mark are taken as they are: CLEVR's own have none.
  """
  mark = mark_path(output_dir, folder.name, "render")
  found = read_mark(mark)
  if not any(folder.glob("*.png")):
    write_mark(mark, made_from)
  elif found not in (None, made_from):
    raise FileExistsError(
      f"{folder} has pictures of other scenes, or by another version of the "
      "renderer; choose another output_dir, or remove the folder"
    )


def _draw_missing(
  scenes: list[dict],
  path: Path,
  folder: Path,
  size: tuple[int, int],
  frame: tuple[int, int],
  pool: Pool,
) -> None:
  """Draws those scenes of the file `path` that have no picture in a folder."""
  missing = [
    s for s in scenes if not _is_drawn(folder / s["image_filename"], size)
  ]
  folder.mkdir(parents=True, exist_ok=True)
  _warn_of_cameras(path, missing)
  with progress_bar(
    total=len(scenes),
    initial=len(scenes) - len(missing),
    unit=" images",
    desc=folder.name,
  ) as progress:
    try:
      draw_files(
        missing,
        folder,
        size,
        pool=pool,
        hidden=folder.parents[1] / f".draw-{folder.name}",
        bar=progress,
        frame=frame,
      )
    except ValueError as error:
      raise SourceError(f"{path}: {error}") from error


def _warn_of_cameras(path: Path, scenes: list[dict]) -> None:
  """Says how many scenes leave open where exactly the camera stood."""
  few = sum(
    "camera" not in scene and len(scene.get("objects") or ()) < 3
    for scene in scenes
  )
  if few:
    logging.warning(
      "%s: %d of %d scenes have fewer than three objects. Their cameras are "
      "known from whole pixels alone: objects are drawn within a pixel of "
      "their places, but the camera may have stood some tenths of a unit away",
      path,
      few,
      len(scenes),
    )


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


def _frame_of(text: str) -> tuple[int, int]:
  match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
  if not match:
    raise ValueError(f"frame_size is {text!r}, must be like 320x240")
  return int(match[1]), int(match[2])


def _main(
  *,
  clevr_dir: str,
  split: str,
  output_dir: str | None,
  width: int | None,
  height: int | None,
  image_size: int | None,
  frame_size: str,
  annotations: bool,
  beam_options: str | None,
) -> None:
  if image_size and (width or height):
    raise ValueError("give either image_size, or width and height")
  folder = render_split(
    clevr_dir,
    split,
    output_dir,
    width=image_size or width,
    height=image_size or height,
    frame=_frame_of(frame_size),
    annotations=annotations,
    beam_options=beam_options,
  )
  print(f"Images of {split} are in {folder}")


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "clevr_dir",
      None,
      "CLEVR folder, with scenes/.",
      required=True,
      addresses=True,
    ),
    flags.DEFINE_string(
      "split", None, "Split to draw, such as val.", required=True
    ),
    cli.path_flag(
      "output_dir",
      None,
      "Where images/ goes; not given: the CLEVR folder.",
      addresses=True,
    ),
    flags.DEFINE_integer(
      "width", None, "In pixels; not given: the frame's.", lower_bound=1
    ),
    flags.DEFINE_integer(
      "height", None, "In pixels; not given: the frame's.", lower_bound=1
    ),
    flags.DEFINE_integer(
      "image_size",
      None,
      "Pixels of both sides, in place of --width and --height.",
      lower_bound=1,
    ),
    flags.DEFINE_string(
      "frame_size",
      "480x320",
      "Size of the pictures that the scenes' pixel_coords were made for.",
    ),
    flags.DEFINE_bool(
      "annotations",
      False,
      "Write boxes and masks of the objects as COCO's JSON, too.",
    ),
    cli.beam_flag("beam_options"),
  )
