"""Makes scenes, questions and images like CLEVR's, in CLEVR's own layout.

    python -m data_prep.generate --output_dir=DIR --num_scenes=10000 --images

writes DIR/scenes/CLEVR_train_scenes.json,
DIR/questions/CLEVR_train_questions.json and DIR/images/train/*.png. As in
CLEVR, a test split has no scenes file and its questions no answers. With
--records_dir=RECORDS the images go straight into TFRecord shards there, the
same that data_prep.convert_clevr makes of the files.

The data depend on the arguments alone, not on the number of workers. Run it
again after an interruption: what is finished is kept.
"""

import os
from pathlib import Path

from absl import flags, logging

from data_prep.generation import split_files
from data_prep.generation.job import BALANCED_SCENES, Job
from data_prep.generation.picture_mark import see_to_pictures
from data_prep.generation.scenes import SPLITS
from data_prep.generation.split_lock import alone
from data_prep.generation.staging import CLEVR, Staging, background_of
from data_prep.world import check_words, read_world
from rn_jax.clevr import HEIGHT, MAX_OBJECTS, MIN_VISIBLE_PIXELS, WIDTH
from rn_jax.data.records import VOCABULARY
from rn_jax.host import cli
from rn_jax.host.paths import place
from rn_jax.host.pool import pool_of


def generate(
  output_dir: str | os.PathLike,
  job: Job,
  *,
  images: bool = False,
  annotations: bool = False,
  size: tuple[int, int] = (WIDTH, HEIGHT),
  records_dir: str | os.PathLike | None = None,
  record_size: int = 128,
  vocabulary: str | os.PathLike | None = None,
  workers: int | None = None,
  beam_options: str | None = None,
  overwrite: bool = False,
) -> Path:
  """Makes one split; one that was made from the same job is reused.

  Args:
    output_dir: Folder in CLEVR's layout, made if need be.
    job: What to make.
    images: Draw the scenes to PNG files, too.
    annotations: Write boxes and masks of the objects in pictures of `size`, and
      put them into the records.
    size: Width and height of the images as they are drawn, in pixels.
    records_dir: Records folder to make or to extend, with images drawn for it.
    record_size: Width and height to which these are scaled, in pixels.
    vocabulary: Vocabulary file for the records; by default that of the folder,
      or one made from a train split.
    workers: Processes that make scenes and questions; None: one per core. More
      than one needs the usual `if __name__ == "__main__":` guard in the
      calling script.
    beam_options: Options of Apache Beam, whose workers then make all; see
      docs/beam.md.
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
  if min(*size, record_size) < 1:
    raise ValueError("an image has at least one pixel on each side")
  pool = pool_of(workers, beam_options)
  if annotations and job.split.startswith("test"):
    raise ValueError(
      f"annotations would tell of the scenes, which the split {job.split!r} "
      "keeps to itself; annotate another split"
    )
  if vocabulary is not None and records_dir is None:
    raise ValueError("vocabulary is for records; give records_dir too")
  check_words(job.world, job.language.synonyms)
  if len(job.language.templates) < job.questions_per_scene:
    logging.warning(
      "%d templates give at most as many questions a scene, not %d.",
      len(job.language.templates),
      job.questions_per_scene,
    )
  output_dir = place(output_dir)
  if records_dir is not None:
    records_dir = place(records_dir)
    known = vocabulary is not None or (records_dir / VOCABULARY).exists()
    if not known and not job.split.startswith("train"):
      raise ValueError(
        f"{records_dir} has no vocabulary yet: make the train split first, "
        "into the same records_dir, or give a vocabulary"
      )
  with alone(output_dir, job.split):
    made = split_files.is_made(job, output_dir, overwrite)
    scenes = split_files.paths_of(job, output_dir).get("scenes")
    see_to_pictures(job, output_dir, overwrite, scenes)
    if not made:
      split_files.make(job, output_dir, pool)
    # What follows imports JAX, which the rest does without.
    if annotations:
      from data_prep.annotation.files import annotate_split

      annotate_split(
        output_dir,
        job.split,
        size=size,
        pool=pool,
        overwrite=overwrite,
      )
    if images or records_dir is not None:
      from data_prep.generation import pictures

      if images:
        pictures.write_files(job, output_dir, size, pool, overwrite)
      if records_dir is not None:
        pictures.write_records(
          job,
          output_dir,
          records_dir,
          size,
          record_size,
          pool,
          vocabulary,
          annotations,
        )
  return output_dir


# Parts of Staging that are numbers, with the help of their flags.
_STAGED = {
  "camera_height": "Height of the camera, in world units.",
  "camera_distance": "How far it is from the middle of the scene, likewise.",
  "camera_jitter": "How far it is moved along each axis at most.",
  "lamp_jitter": "How far each lamp is.",
}


def _main(
  *,
  output_dir: str,
  split: str,
  cogent: str | None,
  templates: list[str],
  images: bool,
  annotations: bool,
  image_size: int | None,
  image_width: int | None,
  image_height: int | None,
  records_dir: str | None,
  vocabulary: str | None,
  workers: int | None,
  beam_options: str | None,
  overwrite: bool,
  background: str | None,
  properties: str | None,
  **others,
) -> None:
  if cogent is not None:
    if split not in ("train", "val", "test"):
      raise ValueError(
        f"cogent {cogent!r} goes with the splits train, val and test, not with "
        f"{split!r}"
      )
    split += cogent
  if image_size and (image_width or image_height):
    raise ValueError("give either image_size, or image_width and image_height")
  staging = {name: others.pop(name) for name in _STAGED}
  job = Job(
    split=split,
    templates=tuple(templates),
    staging=Staging(**staging, background=background_of(background)),
    world=read_world(properties),
    **others,
  )
  generate(
    output_dir,
    job,
    images=images,
    annotations=annotations,
    size=(
      image_size or image_width or WIDTH,
      image_size or image_height or HEIGHT,
    ),
    records_dir=records_dir,
    record_size=image_size or 128,
    vocabulary=vocabulary,
    workers=workers,
    beam_options=beam_options,
    overwrite=overwrite,
  )


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "output_dir", None, "Folder to write to.", required=True, addresses=True
    ),
    flags.DEFINE_enum("split", "train", list(SPLITS), "Split to make."),
    flags.DEFINE_integer("num_scenes", None, "How many scenes.", required=True),
    flags.DEFINE_integer("seed", 0, "Every seed gives other data."),
    flags.DEFINE_enum(
      "cogent",
      None,
      ["A", "B"],
      "Condition of CLEVR CoGenT; --split=val --cogent=B makes valB.",
    ),
    flags.DEFINE_integer("min_objects", 3, "Fewest objects of a scene."),
    flags.DEFINE_integer(
      "max_objects", MAX_OBJECTS, "Most objects of a scene."
    ),
    flags.DEFINE_integer(
      "min_visible_pixels",
      MIN_VISIBLE_PIXELS,
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
      "over so few scenes that those to counting are more skewed, as in the "
      "released data.",
    ),
    flags.DEFINE_list("templates", [], "Template files to use; empty: all."),
    cli.path_flag(
      "language_dir",
      None,
      "Folder with templates/*.json and synonyms.json; not given: the "
      "project's own.",
    ),
    *(
      flags.DEFINE_float(name, getattr(CLEVR, name), text)
      for name, text in _STAGED.items()
    ),
    flags.DEFINE_string(
      "background",
      None,
      "RGB of the ground, from 0 to 255 and linear; not given: 204,204,204.",
    ),
    cli.path_flag(
      "properties",
      None,
      "What objects can be, in the form of CLEVR's properties.json; not given: "
      "CLEVR's.",
    ),
    flags.DEFINE_bool("images", False, "Draw the scenes to PNG files, too."),
    flags.DEFINE_bool(
      "annotations",
      False,
      "Write boxes and masks of the objects as COCO's JSON, and into records.",
    ),
    flags.DEFINE_integer(
      "image_size",
      None,
      "Width and height of the images in pixels.",
      lower_bound=1,
    ),
    flags.DEFINE_integer(
      "image_width", None, "In pixels; not given: 480.", lower_bound=1
    ),
    flags.DEFINE_integer(
      "image_height", None, "In pixels; not given: 320.", lower_bound=1
    ),
    cli.path_flag(
      "records_dir",
      None,
      "Records folder to make or to extend, with images of --image_size, or "
      "else drawn as 480x320 and scaled to 128x128.",
      addresses=True,
    ),
    cli.path_flag(
      "vocabulary",
      None,
      "Vocabulary file for the records; not given: that of the folder, or one "
      "from a train split.",
    ),
    flags.DEFINE_integer(
      "workers", None, "Processes; not given: one per core.", lower_bound=1
    ),
    cli.beam_flag("beam_options"),
    flags.DEFINE_bool(
      "overwrite", False, "Replace data that were made with other arguments."
    ),
  )
