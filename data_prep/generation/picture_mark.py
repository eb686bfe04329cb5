"""What tells of which scenes the pictures in a folder are.

The mark is not in the folder: what reads CLEVR lists it and wants pictures.
There is one for pictures that were made with their scenes ("images"), and one
for those that were drawn of a scenes file ("render").
"""

import json
from pathlib import Path

from data_prep.annotation.reading import path_of
from data_prep.generation.job import Job, is_same
from rn_jax.data.clevr_json import SourceError, read_info
from rn_jax.host.atomic import replacing

# What a mark says of pictures, besides their scenes.
_OF_PICTURES = ("renderer", "width", "height")
# What a scenes file is made from, but no scene depends on.
_OF_QUESTIONS = (
  "num_scenes",
  "questions_per_scene",
  "count_answers",
  "language",
)


def mark_path(output_dir: Path, split: str, by: str = "images") -> Path:
  """Returns where the mark is of a split's pictures, by what made them."""
  return output_dir / ".made_from" / f"{by}-{split}.json"


def move_older_mark(output_dir: Path, split: str) -> None:
  """Moves the mark of an earlier version, which lay among the pictures."""
  older, mark = _older(output_dir, split), mark_path(output_dir, split)
  if older.exists():
    mark.parent.mkdir(exist_ok=True)
    older.replace(mark)


def _older(output_dir: Path, split: str) -> Path:
  return output_dir / "images" / split / ".made_from.json"


def read_mark(mark: Path) -> dict | None:
  """Returns what pictures were made from; None where nothing says it."""
  try:
    made_from = json.loads(mark.read_text())
  except (FileNotFoundError, ValueError, RecursionError):
    return None
  return made_from if isinstance(made_from, dict) else None


def write_mark(mark: Path, made_from: dict) -> None:
  """Writes what the pictures of a folder are made from."""
  mark.parent.mkdir(exist_ok=True)
  with replacing(mark) as temporary:
    temporary.write_text(json.dumps(made_from))


def scenes_of(job: Job) -> dict:
  """Returns what tells the scenes of pictures."""
  return {"version": job.version, **job.look()}


def see_to_pictures(
  job: Job, output_dir: Path, overwrite: bool, scenes_path: Path | None
) -> None:
  """Sees to it that scenes do not come to lie beside pictures of others.

  Nor beside annotations of others.

  Args:
    job: What the scenes are made from.
    output_dir: Folder in CLEVR's layout.
    overwrite: Remove pictures that were made with other scenes, and
      annotations.
    scenes_path: The scenes file, which need not be there yet; None: there
      never is one.

  Raises:
    FileExistsError: There are such pictures, or pictures that were not made
      with their scenes: these are never removed.
  """
  stay = False  # the scenes, whatever is asked about them
  if scenes_path is not None and scenes_path.exists():
    stay = is_same(_of_scenes(read_info(scenes_path)), scenes_of(job))
  move_older_mark(output_dir, job.split)
  folder = output_dir / "images" / job.split
  marks = [mark_path(output_dir, job.split, by) for by in ("images", "render")]
  found = read_mark(marks[0])
  if not any(folder.glob("*.png")):
    for mark in marks:
      mark.unlink(missing_ok=True)
  elif found is not None:
    if not is_same(_without(found, _OF_PICTURES), scenes_of(job)):
      if not overwrite:
        raise FileExistsError(
          f"{folder} has pictures that were made from other arguments; choose "
          "another output_dir, or pass overwrite"
        )
      remove_pictures(folder)
      marks[0].unlink()
  elif not stay:
    raise FileExistsError(
      f"{folder} has pictures that were not made with these scenes; choose "
      "another output_dir, or remove them"
    )
  annotations = path_of(output_dir, job.split)
  if annotations.exists() and not stay:
    if not overwrite:
      raise FileExistsError(
        f"{annotations} is of other scenes; choose another output_dir, or "
        "pass overwrite"
      )
    annotations.unlink()


def check_pictures(
  clevr_dir: Path, split: str, made: Path, scenes_sha256: str | None
) -> None:
  """Checks that the pictures of a folder are of its scenes.

  Args:
    clevr_dir: Folder in CLEVR's layout.
    split: Name of the split.
    made: A file of it, whose `info` says what the scenes are made from.
    scenes_sha256: Hash of the scenes file; None: there is none.

  Raises:
    SourceError: They are of others. Pictures without a mark are believed, for
      CLEVR's own have none, and so are files that do not say where they are
      from.
  """
  by_generator = read_mark(mark_path(clevr_dir, split)) or read_mark(
    _older(clevr_dir, split)
  )
  by_renderer = read_mark(mark_path(clevr_dir, split, "render"))
  where = f"{clevr_dir / 'images' / split} has pictures of other scenes than"
  if by_generator is not None:
    info = read_info(made)
    if "generator" in info and not is_same(
      _without(by_generator, _OF_PICTURES), _of_scenes(info)
    ):
      raise SourceError(
        f"{where} {made}; remove them, and draw these (data_prep.render)"
      )
  elif (
    by_renderer is not None
    and scenes_sha256 is not None
    and by_renderer.get("scenes_sha256") != scenes_sha256
  ):
    mark = mark_path(clevr_dir, split, "render")
    raise SourceError(
      f"{where} {made}; remove them, and draw these (data_prep.render). If the "
      f"scenes file was only laid out anew, remove {mark}"
    )


def _of_scenes(info: dict) -> dict:
  """Returns of what a scenes file says of itself what its scenes depend on."""
  made_from = {"split": info.get("split"), **info.get("generator", {})}
  return _without(made_from, _OF_QUESTIONS)


def _without(made_from: dict, names: tuple[str, ...]) -> dict:
  return {k: v for k, v in made_from.items() if k not in names}


def remove_pictures(folder: Path) -> None:
  """Removes the pictures in a folder."""
  for path in folder.glob("*.png"):
    path.unlink()
