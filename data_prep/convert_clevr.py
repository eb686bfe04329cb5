"""Converts a CLEVR folder to records: shards, vocabulary, metadata, manifest.

  python -m data_prep.convert_clevr --clevr_dir=CLEVR_v1.0 --output_dir=records

Run it again after an interruption: finished shards are kept. A split can be
added to a finished folder later; it then uses the vocabulary of the folder.
"""

import functools
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from data_prep.conversion import records_folder, shards
from data_prep.conversion.clevr_json import SourceError
from data_prep.conversion.clevr_source import load_split
from data_prep.conversion.scene_record import Drawing, build_drawn, build_scene
from rn_jax.data.records import RecordError
from rn_jax.data.vocabulary import VocabularyError
from rn_jax.host.exclusive import BusyError, exclusive


def convert(
  clevr_dir: str | os.PathLike,
  output_dir: str | os.PathLike,
  splits: Sequence[str] = (),
  *,
  image_size: int = 128,
  vocabulary: str | os.PathLike | None = None,
  workers: int | None = None,
  num_shards: int | None = None,
  images: str = "auto",
  drawing: Drawing | None = None,
) -> dict:
  """Converts splits of a CLEVR folder, or of one generated here.

  The vocabulary is the given file, else that of the output folder, else it is
  made from the first split whose name starts with "train". All other
  questions must get by with it.

  Args:
    clevr_dir: Folder with `questions/`, `scenes/` and maybe `images/`.
    output_dir: Records folder to make or to extend.
    splits: Names of the splits; all that `questions/` holds by default.
    image_size: Width and height in pixels; 0 keeps the images as they are.
    vocabulary: Vocabulary file to use.
    workers: Number of processes; by default one per core.
    num_shards: Shards per split; by default one for every 512 scenes.
    images: "yes", "no", or "auto": yes where there is an images folder.
    drawing: Draws the images, of image_size and in this process, instead of
      reading them; `images` is not used then.

  Returns:
    The manifest of the output folder.

  Raises:
    BusyError: Another conversion writes to the output folder.
    SourceError: The CLEVR folder is incomplete or damaged.
    RecordError: The output folder cannot take these splits.
    VocabularyError: The vocabulary file is unusable.
  """
  clevr_dir, output_dir = Path(clevr_dir), Path(output_dir)
  splits = _choose_splits(splits, clevr_dir)
  workers = workers or os.cpu_count()
  build = functools.partial(
    map, functools.partial(build_scene, image_size=image_size)
  )
  if drawing:
    images, workers = "drawn", 1
    build = functools.partial(build_drawn, drawing=drawing)
  with exclusive(output_dir / ".convert.lock"):
    manifest = records_folder.open_folder(output_dir)
    words = records_folder.open_vocabulary(
      vocabulary, output_dir, manifest, splits
    )
    for split in splits:
      loaded = load_split(clevr_dir, split, words, images)
      words.frozen = True  # after the train split, which comes first
      if drawing:
        loaded.fingerprints["images"] = json.dumps(drawing.made_from)
      num = shards.count_shards(len(loaded.sources), num_shards)
      description = records_folder.describe(
        clevr_dir.resolve().name,
        loaded.fingerprints,
        words,
        image_size=image_size,
        num_shards=num,
      )
      known = records_folder.check_fits(
        output_dir, manifest, split, description, loaded.has_images
      )
      entries = shards.write_shards(
        output_dir,
        split,
        loaded.sources,
        build,
        key=records_folder.key_of(description),
        num_shards=num,
        workers=workers,
        known=known,
      )
      manifest["splits"][split] = {
        **shards.summarise(entries),
        "source": description,
      }
    manifest["vocabulary_sha256"] = words.sha256()
    records_folder.finish_folder(output_dir, manifest, words)
  return manifest


def _choose_splits(wanted: Sequence[str], clevr_dir: Path) -> list[str]:
  """Returns the splits to convert, those that give the vocabulary first."""
  names = [path.name for path in clevr_dir.glob("questions/*.json")]
  matches = [re.fullmatch(r"CLEVR_(\w+)_questions\.json", n) for n in names]
  present = sorted(match[1] for match in matches if match)
  if not present:
    raise SourceError(
      f"{clevr_dir / 'questions'}: no files CLEVR_<split>_questions.json;"
      " --clevr_dir must hold images/, scenes/ and questions/ as CLEVR_v1.0"
      " does"
    )
  for split in wanted:
    if split not in present:
      raise SourceError(
        f"{clevr_dir / 'questions'}: no CLEVR_{split}_questions.json; splits"
        f" there: {', '.join(present)}"
      )
  splits = dict.fromkeys(wanted or present)
  return sorted(splits, key=lambda name: not name.startswith("train"))


def main(argv: list[str]) -> None:
  """Runs the conversion that the flags ask for."""
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {argv[1:]}")
  arguments = {
    "image_size": flags.FLAGS.image_size,
    "vocabulary": flags.FLAGS.vocabulary,
    "num_shards": flags.FLAGS.num_shards,
  }
  try:
    if flags.FLAGS.source == "tfds":
      from data_prep.conversion.tfds_source import convert_tfds

      manifest = convert_tfds(
        flags.FLAGS.clevr_dir,
        flags.FLAGS.output_dir,
        flags.FLAGS.splits,
        **arguments,
      )
    else:
      manifest = convert(
        flags.FLAGS.clevr_dir,
        flags.FLAGS.output_dir,
        flags.FLAGS.splits,
        images=flags.FLAGS.images,
        workers=flags.FLAGS.workers,
        **arguments,
      )
  except (BusyError, SourceError, RecordError, VocabularyError) as error:
    sys.exit(f"error: {error}")
  for name, split in manifest["splits"].items():
    print(
      f"{flags.FLAGS.output_dir}: {name}: {split['num_scenes']} scenes,"
      f" {split['num_questions']} questions"
    )


def _define_flags() -> None:
  # Not at import: other programs import this module for `convert`.
  flags.DEFINE_string(
    "clevr_dir",
    None,
    "CLEVR folder, or the data_dir of tensorflow_datasets with --source=tfds.",
    required=True,
  )
  flags.DEFINE_string("output_dir", None, "Records folder.", required=True)
  flags.DEFINE_list("splits", [], "Splits, e.g. train,val; default: all.")
  flags.DEFINE_integer(
    "image_size", 128, "Pixels per side; 0 keeps images as they are.", 0
  )
  flags.DEFINE_string(
    "vocabulary", None, "Vocabulary file to use instead of one from train."
  )
  flags.DEFINE_integer("workers", None, "Processes; default: one per core.", 1)
  flags.DEFINE_integer(
    "num_shards", None, "Shards per split; default: one for 512 scenes.", 1
  )
  flags.DEFINE_enum(
    "images", "auto", ["auto", "yes", "no"], "Whether to convert images."
  )
  flags.DEFINE_enum("source", "clevr", ["clevr", "tfds"], "Kind of clevr_dir.")


if __name__ == "__main__":
  _define_flags()
  app.run(main)
