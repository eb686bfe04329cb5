"""Draws the pictures of CLEVR scenes, without Blender.

    python -m data_prep.render --clevr_dir=DIR --split=val

draws every scene of DIR/scenes/CLEVR_val_scenes.json, 480x320 unless told
otherwise, as DIR/images/val/CLEVR_val_000000.png and so on. Pictures that are
there already are kept: run it again after an interruption.
"""

import hashlib
import os
from pathlib import Path

from absl import flags
from PIL import Image

from data_prep.conversion.clevr_json import SourceError, read_elements
from data_prep.generation.split_lock import alone
from data_prep.rendering.engine import BATCH, render
from rn_jax.clevr import HEIGHT, WIDTH
from rn_jax.data.images import ImageError, opened
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.paths import local_path
from rn_jax.host.progress import progress_bar


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
    BusyError: Another run makes pictures of this split in this folder.
  """
  path = Path(local_path(clevr_dir)) / "scenes" / f"CLEVR_{split}_scenes.json"
  output_dir = Path(local_path(output_dir or clevr_dir))
  folder = output_dir / "images" / split
  scenes = list(read_elements(path, "scenes", hashlib.sha256()))
  for i, scene in enumerate(scenes):
    name = scene.get("image_filename")
    # Nothing a file says may name a place outside the folder.
    if not isinstance(name, str) or not name or name != Path(name).name:
      raise SourceError(f"{path}: scene {i}: image_filename is {name!r}")
  with alone(output_dir, split, folder):
    _draw_missing(scenes, path, folder, (width, height))
  return folder


def _draw_missing(
  scenes: list[dict], path: Path, folder: Path, size: tuple[int, int]
) -> None:
  """Draws those scenes of the file `path` that have no picture in a folder."""
  missing = [
    s for s in scenes if not _is_drawn(folder / s["image_filename"], size)
  ]
  folder.mkdir(parents=True, exist_ok=True)
  with progress_bar(
    total=len(scenes),
    initial=len(scenes) - len(missing),
    unit=" images",
    desc=folder.name,
  ) as progress:
    for start in range(0, len(missing), BATCH):
      batch = missing[start : start + BATCH]
      try:
        pictures = render(batch, *size)
      except ValueError as error:
        raise SourceError(f"{path}: {error}") from error
      for scene, pixels in zip(batch, pictures, strict=True):
        with replacing(folder / scene["image_filename"]) as temporary:
          Image.fromarray(pixels).save(temporary, format="PNG")
      progress.update(len(batch))


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


def _main(
  *,
  clevr_dir: str,
  split: str,
  output_dir: str | None,
  width: int,
  height: int,
  image_size: int | None,
) -> None:
  width, height = image_size or width, image_size or height
  folder = render_split(
    clevr_dir, split, output_dir, width=width, height=height
  )
  print(f"Images of {split} are in {folder}")


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "clevr_dir", None, "CLEVR folder, with scenes/.", required=True
    ),
    flags.DEFINE_string(
      "split", None, "Split to draw, such as val.", required=True
    ),
    cli.path_flag(
      "output_dir", None, "Where images/ goes; not given: the CLEVR folder."
    ),
    flags.DEFINE_integer("width", WIDTH, "In pixels.", lower_bound=1),
    flags.DEFINE_integer("height", HEIGHT, "In pixels.", lower_bound=1),
    flags.DEFINE_integer(
      "image_size",
      None,
      "Pixels of both sides, in place of --width and --height.",
      lower_bound=1,
    ),
  )
