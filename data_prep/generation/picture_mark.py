"""What tells of which scenes the pictures in a folder are.

The mark is not in the folder: what reads CLEVR lists it and wants pictures.
"""

import json
from pathlib import Path

from data_prep.generation.job import VERSION, Job, is_same
from rn_jax.host.atomic import replacing

# What a mark says of pictures, besides their scenes.
_OF_PICTURES = ("renderer", "width", "height")


def mark_path(output_dir: Path, split: str, by: str = "images") -> Path:
  """Returns where the mark is of a split's pictures, by what made them."""
  return output_dir / ".made_from" / f"{by}-{split}.json"


def read_mark(mark: Path) -> dict | None:
  """Returns what pictures were made from; None where nothing says it."""
  try:
    return json.loads(mark.read_text())
  except (FileNotFoundError, ValueError, RecursionError):
    return None


def write_mark(mark: Path, made_from: dict) -> None:
  """Writes what the pictures of a folder are made from."""
  mark.parent.mkdir(exist_ok=True)
  with replacing(mark) as temporary:
    temporary.write_text(json.dumps(made_from))


def scenes_of(job: Job) -> dict:
  """Returns what tells the scenes of pictures."""
  return {"version": VERSION, **job.look()}


def see_to_pictures(job: Job, output_dir: Path, overwrite: bool) -> None:
  """Sees to it that scenes do not come to lie beside pictures of others.

  Args:
    job: What the scenes are made from, of which no pictures are to be drawn.
    output_dir: Folder in CLEVR's layout.
    overwrite: Remove such pictures.

  Raises:
    FileExistsError: There are such pictures.
  """
  mark = mark_path(output_dir, job.split)
  found = read_mark(mark)
  if found is None:
    return
  wanted = scenes_of(job)
  known = {k: v for k, v in found.items() if k not in _OF_PICTURES}
  if is_same(known, wanted):
    return
  folder = output_dir / "images" / job.split
  if not overwrite:
    raise FileExistsError(
      f"{folder} has pictures that were made from other arguments; choose "
      "another output_dir, or pass overwrite"
    )
  remove_pictures(folder)
  mark.unlink()


def remove_pictures(folder: Path) -> None:
  """Removes the pictures in a folder."""
  for path in folder.glob("*.png"):
    path.unlink()
