"""A records folder as a whole: what may go in, and how it is finished.

The manifest is written last. A folder without one is unfinished, whatever
else is in it.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from data_prep.conversion.growing_vocabulary import Vocabulary
from data_prep.conversion.tfds_metadata import write_tfds_metadata
from rn_jax.data import records
from rn_jax.data.clevr_json import SourceError
from rn_jax.data.records import FORMAT_VERSION, RecordError
from rn_jax.host import atomic
from rn_jax.host.paths import is_address, remove_folder


def write_text(path: Path, text: str) -> None:
  """Writes a small file that is either the old or the new one, never half."""
  with atomic.replacing(path) as temporary:
    temporary.write_text(text, encoding="utf-8")


def parts_folder(records_dir: Path, split: str) -> Path:
  """Returns where an unfinished conversion notes the shards it has."""
  return records_dir / f".convert-{split}"


def open_folder(output_dir: Path) -> dict:
  """Returns the manifest of a finished folder, or the start of a new one.

  Raises:
    RecordError: The folder is of another version, or holds other records.
  """
  if (output_dir / records.MANIFEST).exists():
    return records.read_manifest(output_dir)
  if output_dir.is_dir() and not list(output_dir.glob(".convert-*")):
    shards = output_dir.glob(f"{records.DATASET_NAME}-*.tfrecord-*-of-*")
    for path in shards:
      raise RecordError(
        f"{output_dir} has records without a {records.MANIFEST}, such as "
        f"{path.name}, which another program may have made; convert into "
        "another folder, or remove them first"
      )
  return {"format_version": FORMAT_VERSION, "splits": {}}


def open_vocabulary(
  given: str | os.PathLike | None,
  output_dir: Path,
  manifest: dict,
  from_splits: Sequence[str],
) -> Vocabulary:
  """Returns the vocabulary to convert with: given, the folder's, or empty.

  Args:
    given: Vocabulary file, or None.
    output_dir: Records folder.
    manifest: Its manifest.
    from_splits: Splits that an empty vocabulary can be made from.

  Raises:
    RecordError: The folder has another vocabulary than the given one, or than
      its records were made with.
    SourceError: There is nothing to take or to make a vocabulary from.
  """
  own = output_dir / records.VOCABULARY
  if manifest["splits"] or (not given and not from_splits and own.exists()):
    vocabulary = Vocabulary.load(own)
    if manifest["splits"]:
      records.read_vocabulary(output_dir)  # is it still that of the records?
    if given and Vocabulary.load(given).sha256() != vocabulary.sha256():
      raise RecordError(
        f"{given} is not the vocabulary of the records in {output_dir}; leave"
        " --vocabulary out to use that one, or convert into a new folder"
      )
    return vocabulary
  if given:
    return Vocabulary.load(given)
  if not from_splits:
    raise SourceError(
      "there is no train split to make the vocabulary from. Convert one in the"
      " same command (--splits=train,val), extend a folder that has one, name"
      " a vocabulary file (--vocabulary=FILE), or other splits to make it from"
      " (--vocabulary_splits=val)"
    )
  return Vocabulary()


def check_fits(
  output_dir: Path, manifest: dict, split: str, description: dict, images: bool
) -> list[dict]:
  """Checks that a split can go into a folder beside those it has.

  Args:
    output_dir: Records folder.
    manifest: Its manifest.
    split: Split to add.
    description: What it is made from; see `describe`.
    images: Whether it has images.

  Returns:
    The shards that the folder has of this split already.
  """
  for name, other in manifest["splits"].items():
    if (other["image"] is not None) != images:
      reason = f"with{'' if images else 'out'} images"
    elif _known(other["source"]["arguments"]) != {
      **description["arguments"],
      "num_shards": other["source"]["arguments"]["num_shards"],
    }:
      reason = f"with other arguments ({description['arguments']})"
    elif name == split and key_of(other["source"]) != key_of(description):
      reason = "from other files or with another number of shards"
    else:
      continue
    raise RecordError(
      f"{output_dir}: cannot add split {split!r} {reason}: the folder holds"
      f" {name!r}, converted with {other['source']['arguments']}. Convert into"
      " a new folder, or delete this one first"
    )
  return manifest["splits"].get(split, {}).get("shards", [])


def describe(
  folder: str,
  fingerprints: dict[str, str],
  vocabulary: Vocabulary,
  **arguments: int,
) -> dict:
  """Returns what the shards of a split are made from, for the manifest.

  Args:
    folder: Name of the source.
    fingerprints: Hashes of its files.
    vocabulary: Gave the indices of words and answers.
    **arguments: Arguments that the content of the shards depends on.
  """
  return {
    "folder": folder,
    "fingerprints": fingerprints,
    "arguments": arguments,
    "vocabulary": vocabulary.sha256(),
  }


def key_of(description: dict) -> str:
  """Returns a hash of a description; the same key means the same shards."""
  content = {k: v for k, v in description.items() if k != "folder"}
  content["arguments"] = _known(description["arguments"])
  text = json.dumps(content, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def _known(arguments: dict) -> dict:
  """Returns arguments without one that earlier versions noted.

  Whether missing images are skipped changes nothing where none is missing, and
  where some are, the fingerprints are of those that are there.
  """
  return {k: v for k, v in arguments.items() if k != "skip_missing"}


def finish_folder(
  records_dir: Path,
  manifest: dict,
  vocabulary: Vocabulary,
  splits: Sequence[str],
) -> None:
  """Makes a folder whose shards are all written a finished records folder.

  Args:
    records_dir: The folder.
    manifest: Of all splits that it has.
    vocabulary: Of all splits.
    splits: Those that were converted now, whose notes are not needed any more.
  """
  write_text(records_dir / records.VOCABULARY, vocabulary.to_json())
  write_tfds_metadata(
    records_dir, manifest["splits"], json.loads(vocabulary.to_json())
  )
  text = json.dumps(manifest, indent=1) + "\n"
  write_text(records_dir / records.MANIFEST, text)
  for split in splits:
    for path in _leftovers(records_dir, split, manifest["splits"][split]):
      if path.is_dir():
        remove_folder(path)
      else:
        path.unlink(missing_ok=True)
  if not is_address(records_dir):
    atomic.clear(records_dir)


def _leftovers(records_dir: Path, split: str, entry: dict) -> list[Path]:
  """Returns shards of a split that it does not list, and its notes."""
  listed = {shard["filename"] for shard in entry["shards"]}
  shards = records_dir.glob(f"{records.DATASET_NAME}-{split}.tfrecord-*-of-*")
  notes = parts_folder(records_dir, split)
  return [
    *(path for path in shards if path.name not in listed),
    *(path for path in (notes, notes.with_suffix(".json")) if path.exists()),
  ]
