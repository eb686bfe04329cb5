"""The scenes file and the questions file of a generated split."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from absl import logging

from data_prep.generation.job import Job, is_same, make_scene
from data_prep.generation.parts import make_parts
from rn_jax.data.clevr_json import read_elements, read_info
from rn_jax.host.atomic import replacing
from rn_jax.host.paths import remove_folder
from rn_jax.host.pool import Pool
from rn_jax.host.progress import progress_bar


def make(job: Job, output_dir: Path, pool: Pool) -> None:
  """Makes the files.

  Until they are finished, parts of them lie in a hidden folder beside them.

  Args:
    job: What to make.
    output_dir: Folder in CLEVR's layout.
    pool: Who makes the parts.
  """
  paths = paths_of(job, output_dir)
  folder = output_dir / f".generate-{job.split}"
  folder.mkdir(parents=True, exist_ok=True)
  num_questions = _join(job, make_parts(job, folder, pool), paths)
  remove_folder(folder)
  logging.info(
    "Made %d scenes with %d questions in %s",
    job.num_scenes,
    num_questions,
    output_dir,
  )


def paths_of(job: Job, output_dir: Path) -> dict[str, Path]:
  """The paths of the files by what they hold; test splits have no scenes."""
  keys = (
    ["questions"] if job.split.startswith("test") else ["scenes", "questions"]
  )
  return {
    key: output_dir / key / f"CLEVR_{job.split}_{key}.json" for key in keys
  }


def read_scenes(job: Job, output_dir: Path) -> Iterator[dict]:
  """The scenes of a split that was made, of a test split as well."""
  path = paths_of(job, output_dir).get("scenes")
  if path is None:
    return (make_scene(job, index) for index in range(job.num_scenes))
  return read_elements(path, "scenes")


def is_made(job: Job, output_dir: Path, overwrite: bool) -> bool:
  """Returns whether the files are there, from the same arguments.

  Args:
    job: What is to be made.
    output_dir: Folder in CLEVR's layout.
    overwrite: Files that were made from other arguments may be replaced.

  Raises:
    FileExistsError: One of them was, and may not.
  """
  paths = paths_of(job, output_dir)
  for path in paths.values():
    if not path.exists():
      continue
    if not is_same(read_info(path), job.info()):
      if overwrite:
        return False
      raise FileExistsError(
        f'{path} was made with other arguments (see its "info"); choose '
        "another output_dir, or pass overwrite"
      )
  made = all(path.exists() for path in paths.values())
  if made:
    logging.info("Reusing %s", paths["questions"])
  return made


def _join(
  job: Job,
  parts: Iterable[tuple[list[str], list[str]]],
  paths: dict[str, Path],
) -> int:
  """Writes the files from their parts; returns the number of questions."""
  num_scenes = num_questions = 0
  with contextlib.ExitStack() as stack:
    files = {}
    for key, path in paths.items():
      path.parent.mkdir(parents=True, exist_ok=True)
      temporary = stack.enter_context(replacing(path))
      files[key] = stack.enter_context(open(temporary, "w", encoding="utf-8"))
      files[key].write(f'{{"info": {json.dumps(job.info())},\n"{key}": [')
    progress = stack.enter_context(
      progress_bar(total=job.num_scenes, unit=" scenes", desc=job.split)
    )
    for scenes, questions in parts:
      numbered = [
        f'{text[:-1]}, "question_index": {number}}}'
        for number, text in enumerate(questions, num_questions)
      ]
      if "scenes" in files:
        _append(files["scenes"], scenes, first=num_scenes == 0)
      _append(files["questions"], numbered, first=num_questions == 0)
      num_scenes += len(scenes)
      num_questions += len(questions)
      progress.update(len(scenes))
    for file in files.values():
      file.write("\n]}\n")
  return num_questions


def _append(file: TextIO, texts: list[str], first: bool) -> None:
  """Appends elements to a JSON list, a line each."""
  if texts:
    file.write(("\n" if first else ",\n") + ",\n".join(texts))
