"""Converts a CLEVR folder to records: shards, vocabulary, metadata, manifest.

  python -m data_prep.convert_clevr --clevr_dir=CLEVR_v1.0 --output_dir=records

Run it again after an interruption: finished shards are kept. A split can be
added to a finished folder later; it then uses the vocabulary of the folder.
"""

import functools
import hashlib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from data_prep import write_records
from data_prep.clevr_json import SourceError
from data_prep.clevr_source import load_split
from data_prep.scene_record import build_scene
from data_prep.vocabulary import Vocabulary
from rn_jax import records
from rn_jax.records import FORMAT_VERSION, RecordError


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

  Returns:
    The manifest of the output folder.

  Raises:
    SourceError: The CLEVR folder is incomplete or damaged.
    RecordError: The output folder cannot take these splits.
    VocabularyError: The vocabulary file is unusable.
  """
  clevr_dir, output_dir = Path(clevr_dir), Path(output_dir)
  splits = _choose_splits(splits, clevr_dir)
  manifest = open_folder(output_dir)
  words = open_vocabulary(vocabulary, output_dir, manifest, splits)
  output_dir.mkdir(parents=True, exist_ok=True)
  for split in splits:
    loaded = load_split(clevr_dir, split, words, images)
    words.frozen = True  # after the train split, which comes first
    shards = write_records.count_shards(len(loaded.sources), num_shards)
    description = {
      "folder": clevr_dir.resolve().name,
      "fingerprints": loaded.fingerprints,
      "arguments": {"image_size": image_size, "num_shards": shards},
      "vocabulary": words.sha256(),
    }
    known = check_fits(
      output_dir, manifest, split, description, loaded.has_images
    )
    entries = write_records.write_shards(
      output_dir,
      split,
      loaded.sources,
      functools.partial(build_scene, image_size=image_size),
      key=hash_of(description),
      num_shards=shards,
      workers=workers or os.cpu_count(),
      known=known,
    )
    manifest["splits"][split] = {
      **write_records.summarise(entries),
      "source": description,
    }
  manifest["vocabulary_sha256"] = words.sha256()
  write_records.finish_folder(output_dir, manifest, words)
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


def open_folder(output_dir: Path) -> dict:
  """Returns the manifest of a finished folder, or the start of a new one."""
  if (output_dir / records.MANIFEST).exists():
    return records.read_manifest(output_dir)
  return {"format_version": FORMAT_VERSION, "splits": {}}


def open_vocabulary(
  given: str | os.PathLike | None,
  output_dir: Path,
  manifest: dict,
  splits: Sequence[str],
) -> Vocabulary:
  """Returns the vocabulary to convert with: given, the folder's, or empty."""
  own = output_dir / records.VOCABULARY
  has_train = splits[0].startswith("train")
  if manifest["splits"] or (not given and not has_train and own.exists()):
    vocabulary = Vocabulary.load(own)
    if given and Vocabulary.load(given).sha256() != vocabulary.sha256():
      raise RecordError(
        f"{given} is not the vocabulary of the records in {output_dir}; leave"
        " --vocabulary out to use that one, or convert into a new folder"
      )
    return vocabulary
  if given:
    return Vocabulary.load(given)
  if not has_train:
    raise SourceError(
      f"no vocabulary for split {splits[0]!r}: it comes from a train split."
      " Convert one in the same command (--splits=train,val), extend a folder"
      " that has one, or name a vocabulary file with --vocabulary"
    )
  return Vocabulary()


def check_fits(
  output_dir: Path, manifest: dict, split: str, description: dict, images: bool
) -> list[dict]:
  """Checks that a split can go into a folder beside those it has.

  Returns:
    The shards that the folder has of this split already.
  """
  for name, other in manifest["splits"].items():
    if (other["image"] is not None) != images:
      reason = f"with{'' if images else 'out'} images"
    elif other["source"]["arguments"] != {
      **description["arguments"],
      "num_shards": other["source"]["arguments"]["num_shards"],
    }:
      reason = f"with other arguments ({description['arguments']})"
    elif name == split and hash_of(other["source"]) != hash_of(description):
      reason = "from other files or with another number of shards"
    else:
      continue
    raise RecordError(
      f"{output_dir}: cannot add split {split!r} {reason}: the folder holds"
      f" {name!r}, converted with {other['source']['arguments']}. Convert into"
      " a new folder, or delete this one first"
    )
  return manifest["splits"].get(split, {}).get("shards", [])


def hash_of(description: dict) -> str:
  """Returns a hash of a description in plain JSON types."""
  text = json.dumps(description, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


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
      from data_prep.tfds_source import convert_tfds

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
  except ValueError as error:
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
