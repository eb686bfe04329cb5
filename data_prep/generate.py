"""Makes scenes and questions like CLEVR's, in CLEVR's own JSON layout.

    python -m data_prep.generate --output_dir=DIR --split=train \
        --num_scenes=10000 --seed=0

writes DIR/scenes/CLEVR_train_scenes.json and
DIR/questions/CLEVR_train_questions.json. As in CLEVR, a test split has no
scenes file and its questions no answers. The data depend on the arguments
alone, not on the number of workers.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from absl import app, flags, logging
from tqdm import tqdm

from data_prep.chunks import Job, language_of, make_chunks
from data_prep.scenes import SPLITS
from rn_jax.atomic import replacing

# Goes up whenever the same arguments would give other data.
VERSION = 2


def generate(
  output_dir: str | os.PathLike,
  split: str,
  num_scenes: int,
  seed: int = 0,
  *,
  min_objects: int = 3,
  max_objects: int = 10,
  questions_per_scene: int = 10,
  templates: Sequence[str] = (),
  language_dir: str | os.PathLike | None = None,
  workers: int | None = None,
  overwrite: bool = False,
) -> Path:
  """Makes one split; one that was made with the same arguments is reused.

  Args:
    output_dir: Folder in CLEVR's layout, made if need be.
    split: A key of data_prep.scenes.SPLITS: train, val, test, or one of
      CoGenT's trainA, valA, testA, valB, testB.
    num_scenes: Number of scenes.
    seed: Every seed gives other data.
    min_objects: Fewest objects of a scene.
    max_objects: Most objects of a scene, at most 10.
    questions_per_scene: Most questions about a scene, each from another
      template.
    templates: Template files to use, such as "zero_hop"; empty: all.
    language_dir: Folder with templates/*.json and synonyms.json; None: the
      project's own.
    workers: Processes; None: one per core. More than one needs the usual
      `if __name__ == "__main__":` guard in the calling script.
    overwrite: Replace data that were made with other arguments.

  Returns:
    The output folder.

  Raises:
    ValueError: An argument makes no sense, or a template is malformed.
    FileNotFoundError: The language folder or a template file is missing.
    FileExistsError: The split is there, made with other arguments.
  """
  job = Job(
    split=split,
    num_scenes=num_scenes,
    seed=seed,
    min_objects=min_objects,
    max_objects=max_objects,
    questions_per_scene=questions_per_scene,
    language_dir=None if language_dir is None else os.fspath(language_dir),
    templates=tuple(templates),
  )
  _check(job, workers)
  language = language_of(job.language_dir, job.templates)
  if len(language.templates) < questions_per_scene:
    logging.warning(
      "%d templates give at most as many questions a scene, not %d.",
      len(language.templates),
      questions_per_scene,
    )
  info = {
    "split": split,
    "version": "1.0",
    "generator": {
      "version": VERSION,
      "num_scenes": num_scenes,
      "seed": seed,
      "min_objects": min_objects,
      "max_objects": max_objects,
      "questions_per_scene": questions_per_scene,
      "language": language.fingerprint,
    },
  }
  output_dir = Path(output_dir)
  paths = {
    key: output_dir / key / f"CLEVR_{split}_{key}.json"
    for key in ("scenes", "questions")
  }
  if split.startswith("test"):
    del paths["scenes"]
  if not overwrite and _is_made(paths.values(), info):
    logging.info("Reusing %s", paths["questions"])
    return output_dir
  num_questions = _write(job, info, paths, workers or os.cpu_count() or 1)
  logging.info(
    "Made %d scenes with %d questions in %s",
    num_scenes,
    num_questions,
    output_dir,
  )
  return output_dir


def _check(job: Job, workers: int | None) -> None:
  if job.split not in SPLITS:
    raise ValueError(f"split {job.split!r} is none of {', '.join(SPLITS)}")
  for name in ("num_scenes", "questions_per_scene"):
    if getattr(job, name) < 1:
      raise ValueError(f"{name} is {getattr(job, name)}, must be at least 1")
  if not 1 <= job.min_objects <= job.max_objects <= 10:
    raise ValueError(
      f"min_objects {job.min_objects} and max_objects {job.max_objects} must "
      "satisfy 1 <= min_objects <= max_objects <= 10"
    )
  if workers is not None and workers < 1:
    raise ValueError(f"workers is {workers}, must be at least 1")


def _is_made(paths: Iterable[Path], info: dict) -> bool:
  """Whether the files are there.

  Raises:
    FileExistsError: One of them was made from other arguments.
  """
  for path in paths:
    if not path.exists():
      continue
    with open(path, encoding="utf-8") as file:
      first_line = file.readline(1 << 16)
    if first_line != _head(info):
      raise FileExistsError(
        f"{path} was made with other arguments (see its first line); choose "
        "another output_dir, or pass overwrite"
      )
  return all(path.exists() for path in paths)


def _head(info: dict) -> str:
  return f'{{"info": {json.dumps(info)},\n'


def _write(job: Job, info: dict, paths: dict[str, Path], workers: int) -> int:
  """Writes the files chunk by chunk; returns the number of questions."""
  num_questions = 0
  with contextlib.ExitStack() as stack:
    files = {}
    for key, path in paths.items():
      path.parent.mkdir(parents=True, exist_ok=True)
      temporary = stack.enter_context(replacing(path))
      files[key] = stack.enter_context(open(temporary, "w"))
      files[key].write(f'{_head(info)}"{key}": [')
    progress = stack.enter_context(
      tqdm(total=job.num_scenes, unit=" scenes", desc=job.split)
    )
    for scenes, questions in make_chunks(job, workers):
      numbered = [
        f'{text[:-1]}, "question_index": {number}}}'
        for number, text in enumerate(questions, num_questions)
      ]
      if "scenes" in files:
        _append(files["scenes"], scenes, first=progress.n == 0)
      _append(files["questions"], numbered, first=num_questions == 0)
      num_questions += len(questions)
      progress.update(len(scenes))
    for file in files.values():
      file.write("\n]}\n")
  return num_questions


def _append(file: TextIO, texts: list[str], first: bool) -> None:
  """Appends elements to a JSON list, a line each."""
  if texts:
    file.write(("\n" if first else ",\n") + ",\n".join(texts))


def _define_flags() -> list[flags.FlagHolder]:
  """Defines a flag per argument of `generate`; only when run as a program."""
  return [
    flags.DEFINE_string(
      "output_dir", None, "Folder to write to.", required=True
    ),
    flags.DEFINE_enum("split", "train", list(SPLITS), "Split to make."),
    flags.DEFINE_integer(
      "num_scenes", None, "Number of scenes.", lower_bound=1, required=True
    ),
    flags.DEFINE_integer("seed", 0, "Every seed gives other data."),
    flags.DEFINE_integer("min_objects", 3, "Fewest objects of a scene."),
    flags.DEFINE_integer("max_objects", 10, "Most objects of a scene."),
    flags.DEFINE_integer(
      "questions_per_scene", 10, "Most questions about a scene."
    ),
    flags.DEFINE_list("templates", [], "Template files to use; empty: all."),
    flags.DEFINE_string(
      "language_dir",
      None,
      "Folder with templates/*.json and synonyms.json; not given: the "
      "project's own.",
    ),
    flags.DEFINE_integer(
      "workers", None, "Processes; not given: one per core.", lower_bound=1
    ),
    flags.DEFINE_bool(
      "overwrite", False, "Replace data that were made with other arguments."
    ),
  ]


def _main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments {argv[1:]}")
  try:
    generate(**{flag.name: flag.value for flag in _FLAGS})
  except (ValueError, OSError) as error:
    raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
  _FLAGS = _define_flags()
  app.run(_main)
