"""The record contract: what one scene looks like, in memory and on disk.

A records folder holds, for each split, TFRecord shards with one record per
scene (the image, the objects and relations, and all questions about it),
`vocabulary.json`, and `manifest.json`, which is written last: a folder
without it is unfinished. Field names follow the way tensorflow_datasets
flattens nested features, so `tfds.builder_from_directory` reads the folder
too. Everything here runs without TensorFlow.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rn_jax.data import vocabulary
from rn_jax.data.scene_example import decode_scene, encode_scene, get_feature
from rn_jax.data.tfrecord import (
  RecordError,
  ShardInfo,
  read_shard,
  write_shard,
)
from rn_jax.data.vocabulary import VocabularyError
from rn_jax.host.paths import place
from rn_jax.host.user_cache import in_user_cache

__all__ = [
  "FORMAT_VERSION",
  "RecordError",
  "ShardInfo",
  "check_clevr",
  "decode_scene",
  "encode_scene",
  "get_feature",
  "read_manifest",
  "read_scenes",
  "read_shard",
  "read_vocabulary",
  "shard_name",
  "shard_paths",
  "write_shard",
]

FORMAT_VERSION = 1
DATASET_NAME = "clevr"
MANIFEST = "manifest.json"
VOCABULARY = "vocabulary.json"

# Of one question; CLEVR's are far shorter. What lays questions out, for
# networks or for the eye, would take very long with boundless ones.
MAX_QUESTION_WORDS = 1_000
MAX_QUESTION_CHARACTERS = 10_000


def shard_name(split: str, index: int, num_shards: int) -> str:
  """Returns the file name of one shard of a split."""
  return f"{DATASET_NAME}-{split}.tfrecord-{index:05d}-of-{num_shards:05d}"


def read_manifest(records_dir: str | os.PathLike) -> dict:
  """Returns the manifest of a finished records folder.

  Raises:
    RecordError: The folder is missing, unfinished, or of another version.
  """
  if not os.fspath(records_dir):
    raise RecordError(
      "name the records: --config.data.dir=DIR, made by"
      " `python -m data_prep.convert_clevr`"
    )
  records_dir = place(records_dir)
  path = records_dir / MANIFEST
  if not records_dir.is_dir():
    remedy = (
      "make one with `python -m data_prep.convert_clevr --clevr_dir=... "
      f"--output_dir={records_dir}`"
    )
    if in_user_cache(records_dir):
      remedy = (
        "a training made it for itself, and makes it again when it is started"
        " again; or name another with --config.data.dir=DIR"
      )
    raise RecordError(f"{records_dir}: no such records folder; {remedy}")
  if not path.exists():
    raise RecordError(
      f"{records_dir}: no {MANIFEST}, so this is no finished records folder;"
      " run the same data_prep.convert_clevr command again: it goes on where"
      " it stopped"
    )
  try:
    manifest = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(manifest, dict):
      raise ValueError("it holds no object")
    if not isinstance(manifest.get("splits", {}), dict):
      raise ValueError("its splits are no object")
  except (ValueError, RecursionError) as error:
    raise RecordError(
      f"{path}: not readable as JSON ({error}); convert the data again"
    ) from None
  version = manifest.get("format_version")
  if version != FORMAT_VERSION:
    raise RecordError(
      f"{path}: records of format version {version}, but this code reads"
      f" version {FORMAT_VERSION}; convert the data again into a new folder"
    )
  return manifest


def read_vocabulary(records_dir: str | os.PathLike) -> dict[str, dict]:
  """Returns the vocabulary of a records folder; see rn_jax/data/vocabulary.py.

  Raises:
    RecordError: The folder is unusable, or the file is missing, no vocabulary,
      or not the one that the records were made with.
  """
  path = place(records_dir) / VOCABULARY
  try:
    content = vocabulary.read_vocabulary(path)
  except VocabularyError as error:
    raise RecordError(f"{error}; convert the data again") from None
  expected = read_manifest(records_dir).get("vocabulary_sha256")
  found = hashlib.sha256(path.read_bytes()).hexdigest()
  if expected not in (None, found):  # None: of an earlier version
    raise RecordError(
      f"{path}: its SHA-256 is not the one in the manifest, so its numbers may"
      " not be those of the records; put the file back, or convert the data"
      " again"
    )
  return content


def check_clevr(words: Mapping[str, Mapping], who: str) -> None:
  """Checks that objects are such as CLEVR has.

  Args:
    words: The vocabulary of the records.
    who: Records, and what is to read them.

  Raises:
    RecordError: Attributes have values that CLEVR does not have.
  """
  new = [
    f"{name} {value}"
    for name, values in words.get("attributes", {}).items()
    for value in values
  ]
  if new:
    raise RecordError(
      f"{who} know the attributes of CLEVR's objects alone, and here are others"
      f" ({', '.join(new)}); train and ask networks from pixels (a *_fp config)"
    )


def read_split(records_dir: str | os.PathLike, split: str) -> dict:
  """Returns what the manifest says of a split.

  Raises:
    RecordError: The folder is unusable, or the split is unknown or empty.
  """
  splits = read_manifest(records_dir)["splits"]
  entry = splits.get(split)
  if not entry or not entry["num_scenes"]:
    present = ", ".join(s for s in splits if splits[s]["num_scenes"]) or "none"
    state = "is empty" if entry else "is not there"
    raise RecordError(
      f"{records_dir}: split {split!r} {state}; splits with records: {present}."
      f" Convert it with --splits={split}, or name another split"
    )
  return entry


def shard_paths(records_dir: str | os.PathLike, split: str) -> list[Path]:
  """Returns the shards of a split, in order.

  Raises:
    RecordError: The folder is unusable, or the split is unknown or empty.
  """
  shards = read_split(records_dir, split)["shards"]
  return [place(records_dir) / shard["filename"] for shard in shards]


def read_scenes(
  records_dir: str | os.PathLike,
  split: str,
  decode: Callable[[bytes], dict] = decode_scene,
  start: int = 0,
  shards: Sequence[Mapping] | None = None,
) -> Iterator[dict]:
  """Yields the scenes of a split, and checks that none is missing.

  Args:
    records_dir: The records folder.
    split: Name of the split.
    decode: Decodes a record; `decode_scene` or a part of it.
    start: Scene to begin with; shards before it are not read.
    shards: Which to read, as the manifest has them; None: all.

  Raises:
    RecordError: A shard is damaged, or does not hold what the manifest says.
  """
  of_split = read_split(records_dir, split)["shards"]
  for shard in of_split if shards is None else shards:
    if start >= shard["num_records"]:
      start -= shard["num_records"]
      continue
    path = place(records_dir) / shard["filename"]
    num_records = num_questions = 0
    for payload in read_shard(path):
      try:
        scene = decode(payload)
      except RecordError as error:
        raise RecordError(f"{path}: record {num_records}: {error}") from error
      num_records += 1
      num_questions += len(scene["questions"]["answer"])
      if num_records > start:
        yield scene
    start = 0
    found = (num_records, num_questions)
    if found != (shard["num_records"], shard["num_questions"]):
      raise RecordError(
        f"{path}: {found[0]} records with {found[1]} questions, but the"
        f" manifest says {shard['num_records']} with {shard['num_questions']};"
        " convert the data again"
      )
