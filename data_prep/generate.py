"""Makes scenes, questions and images like CLEVR's, in CLEVR's own layout.

    python -m data_prep.generate --output_dir=DIR --split=train \
        --num_scenes=10000 --seed=0 [--images]

writes DIR/scenes/CLEVR_train_scenes.json,
DIR/questions/CLEVR_train_questions.json and DIR/images/train/*.png. As in
CLEVR, a test split has no scenes file and its questions no answers. With
--records_dir=RECORDS the images go straight into TFRecord shards there, the
same that data_prep.convert_clevr makes of the files.

The data depend on the arguments alone, not on the number of workers. Run it
again after an interruption: what is finished is kept.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging

from data_prep.generation import split_files
from data_prep.generation.job import BALANCED_SCENES, Job, language_of
from data_prep.generation.scenes import SPLITS
from rn_jax.host.exclusive import exclusive


def generate(
  output_dir: str | os.PathLike,
  split: str,
  num_scenes: int,
  seed: int = 0,
  *,
  cogent: str | None = None,
  min_objects: int = 3,
  max_objects: int = 10,
  min_visible_pixels: int = 200,
  questions_per_scene: int = 10,
  count_answers: str = "balanced",
  templates: Sequence[str] = (),
  language_dir: str | os.PathLike | None = None,
  images: bool = False,
  image_size: int | None = None,
  image_width: int | None = None,
  image_height: int | None = None,
  records_dir: str | os.PathLike | None = None,
  vocabulary: str | os.PathLike | None = None,
  workers: int | None = None,
  overwrite: bool = False,
) -> Path:
  """Makes one split; one that was made with the same arguments is reused.

  Args:
    output_dir: Folder in CLEVR's layout, made if need be.
    split: A key of generation.scenes.SPLITS: train, val, test, or one of
      CoGenT's trainA, valA, testA, valB, testB.
    num_scenes: Number of scenes.
    seed: Every seed gives other data.
    cogent: "A" or "B" turns train, val or test into that split of CoGenT.
    min_objects: Fewest objects of a scene.
    max_objects: Most objects of a scene, at most 10.
    min_visible_pixels: Fewest pixels that each object shows in a picture of
      480x320; 0 does not look.
    questions_per_scene: Most questions about a scene, each from another
      template.
    count_answers: "balanced" evens out answers over 250 scenes, as CLEVR's
      public generator does; "released" over 25, which leaves the answers to
      counting more skewed: the released data were made on many machines, none
      of which knew what the others had asked.
    templates: Template files to use, such as "zero_hop"; empty: all.
    language_dir: Folder with templates/*.json and synonyms.json; None: the
      project's own.
    images: Draw the scenes to PNG files, too.
    image_size: Width and height of the images in pixels.
    image_width: Width, 480 if not given.
    image_height: Height, 320 if not given.
    records_dir: Records folder to make or to extend, with images drawn for it:
      of image_size, or else drawn as 480x320 and scaled to 128x128.
    vocabulary: Vocabulary file for the records; by default that of the folder,
      or one made from a train split.
    workers: Processes that make scenes and questions; None: one per core. More
      than one needs the usual `if __name__ == "__main__":` guard in the
      calling script.
    overwrite: Replace data that were made with other arguments.

  Returns:
    The output folder.

  Raises:
    ValueError: An argument makes no sense, or a template is malformed.
    FileNotFoundError: The language folder or a template file is missing.
    FileExistsError: The split is there, made with other arguments.
    BusyError: Another run makes this split in this folder.
    RecordError: The records folder cannot take the split.
  """
  job = Job(
    split=_split_of(split, cogent),
    num_scenes=num_scenes,
    seed=seed,
    min_objects=min_objects,
    max_objects=max_objects,
    min_visible_pixels=min_visible_pixels,
    questions_per_scene=questions_per_scene,
    count_answers=count_answers,
    language_dir=None if language_dir is None else os.fspath(language_dir),
    templates=tuple(templates),
  )
  _check(job, workers)
  size = _picture_size(image_size, image_width, image_height)
  if vocabulary is not None and records_dir is None:
    raise ValueError("vocabulary is for records; give records_dir too")
  output_dir = Path(output_dir)
  with exclusive(output_dir / f".generate-{job.split}.lock"):
    split_files.make(job, output_dir, workers or os.cpu_count() or 1, overwrite)
    if images or records_dir is not None:
      from data_prep.generation import (
        pictures,  # imports JAX, which the rest does without
      )

      if images:
        pictures.write_files(job, output_dir, size, overwrite)
      if records_dir is not None:
        pictures.write_records(
          job, output_dir, records_dir, size, image_size or 128, vocabulary
        )
  return output_dir


def _split_of(split: str, cogent: str | None) -> str:
  """Returns the name of the split that both arguments mean."""
  if cogent is None:
    name = split
  elif split in ("train", "val", "test"):
    name = f"{split}{cogent}"
  else:
    raise ValueError(
      f"cogent {cogent!r} goes with the splits train, val and test, not with "
      f"{split!r}"
    )
  if name not in SPLITS:
    raise ValueError(f"split {name!r} is none of {', '.join(SPLITS)}")
  return name


def _picture_size(
  size: int | None, width: int | None, height: int | None
) -> tuple[int, int]:
  if size is not None and (width is not None or height is not None):
    raise ValueError("give either image_size, or image_width and image_height")
  result = (size or width or 480, size or height or 320)
  if any(s is not None and s < 1 for s in (size, width, height)):
    raise ValueError("an image has at least one pixel on each side")
  return result


def _check(job: Job, workers: int | None) -> None:
  for name in ("num_scenes", "questions_per_scene"):
    if getattr(job, name) < 1:
      raise ValueError(f"{name} is {getattr(job, name)}, must be at least 1")
  if not 1 <= job.min_objects <= job.max_objects <= 10:
    raise ValueError(
      f"min_objects {job.min_objects} and max_objects {job.max_objects} must "
      "satisfy 1 <= min_objects <= max_objects <= 10"
    )
  if job.count_answers not in BALANCED_SCENES:
    raise ValueError(
      f"count_answers {job.count_answers!r} is none of "
      f"{', '.join(BALANCED_SCENES)}"
    )
  if not 0 <= job.min_visible_pixels <= 500:
    raise ValueError(
      f"min_visible_pixels is {job.min_visible_pixels}, must be from 0 to 500;"
      " small objects never show much more"
    )
  if workers is not None and workers < 1:
    raise ValueError(f"workers is {workers}, must be at least 1")
  language = language_of(job.language_dir, job.templates)
  if len(language.templates) < job.questions_per_scene:
    logging.warning(
      "%d templates give at most as many questions a scene, not %d.",
      len(language.templates),
      job.questions_per_scene,
    )


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
    flags.DEFINE_enum(
      "cogent",
      None,
      ["A", "B"],
      "Condition of CLEVR CoGenT; --split=val --cogent=B makes valB.",
    ),
    flags.DEFINE_integer("min_objects", 3, "Fewest objects of a scene."),
    flags.DEFINE_integer("max_objects", 10, "Most objects of a scene."),
    flags.DEFINE_integer(
      "min_visible_pixels",
      200,
      "Fewest pixels that each object shows in 480x320; 0 does not look.",
    ),
    flags.DEFINE_integer(
      "questions_per_scene", 10, "Most questions about a scene."
    ),
    flags.DEFINE_enum(
      "count_answers",
      "balanced",
      list(BALANCED_SCENES),
      "Whether answers are evened out as CLEVR's public generator does, or "
      "over so few scenes that those to counting are more skewed.",
    ),
    flags.DEFINE_list("templates", [], "Template files to use; empty: all."),
    flags.DEFINE_string(
      "language_dir",
      None,
      "Folder with templates/*.json and synonyms.json; not given: the "
      "project's own.",
    ),
    flags.DEFINE_bool("images", False, "Draw the scenes to PNG files, too."),
    flags.DEFINE_integer(
      "image_size", None, "Width and height of the images in pixels."
    ),
    flags.DEFINE_integer("image_width", None, "Width; not given: 480."),
    flags.DEFINE_integer("image_height", None, "Height; not given: 320."),
    flags.DEFINE_string(
      "records_dir",
      None,
      "Records folder to make or to extend, with images of --image_size, or "
      "else drawn as 480x320 and scaled to 128x128.",
    ),
    flags.DEFINE_string(
      "vocabulary",
      None,
      "Vocabulary file for the records; not given: that of the folder, or one "
      "from a train split.",
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
