"""The record contract: what one scene looks like, in memory and on disk.

A records folder holds, for each split, TFRecord shards with one record per
scene (the image, the objects and relations, and all questions about it),
`vocabulary.json`, and `manifest.json`, which is written last: a folder
without it is unfinished. Field names follow the way tensorflow_datasets
flattens nested features, so `tfds.builder_from_directory` reads the folder
too. Everything here runs without TensorFlow.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from rn_jax.clevr import ATTRIBUTES, RELATIONS
from rn_jax.data import vocabulary
from rn_jax.data.tfrecord import (
  RecordError,
  ShardInfo,
  decode_example,
  encode_example,
  read_shard,
  write_shard,
)
from rn_jax.data.vocabulary import VocabularyError
from rn_jax.host.paths import local_path

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

_QUESTION_TEXTS = ("text", "family")
_QUESTION_NUMBERS = ("answer", "question_index", "function", "question_type")


def shard_name(split: str, index: int, num_shards: int) -> str:
  """Returns the file name of one shard of a split."""
  return f"{DATASET_NAME}-{split}.tfrecord-{index:05d}-of-{num_shards:05d}"


def _flatten(rows) -> tuple[list[int], list[int]]:
  """Splits ragged rows into their values in a row and the row lengths."""
  return list(itertools.chain.from_iterable(rows)), [len(row) for row in rows]


def encode_scene(scene: dict) -> bytes:
  """Serialises a scene; see `decode_scene` for its fields.

  Raises:
    ValueError: The parts of the scene disagree in length.
  """
  objects, questions = scene["objects"], scene["questions"]
  num_objects, num_questions = len(objects["3d_coords"]), len(questions["text"])
  for name, values in objects.items():
    _check_length(scene, f"objects/{name}", values, num_objects)
  for name, rows in scene["relationships"].items():
    _check_length(scene, f"relationships/{name}", rows, num_objects)
  for name, values in questions.items():
    _check_length(scene, f"questions/{name}", values, num_questions)

  values = {
    "image_filename": ("bytes", [scene["image_filename"].encode()]),
    "image_index": ("int64", [scene["image_index"]]),
    "objects/rotation": ("float", objects["rotation"]),
  }
  if scene["image"] is not None:
    values["image"] = ("bytes", [scene["image"]])
  for name in ("3d_coords", "pixel_coords"):
    values[f"objects/{name}"] = ("float", np.ravel(objects[name]))
  for name in ATTRIBUTES:
    values[f"objects/{name}"] = ("int64", objects[name])
  if "mask" in objects:
    values["objects/bbox"] = ("float", np.ravel(objects["bbox"]))
    values["objects/mask"] = ("bytes", [m.encode() for m in objects["mask"]])
    values["objects/mask_size"] = ("int64", np.ravel(objects["mask_size"]))
  ragged = {
    f"relationships/{name}": scene["relationships"][name] for name in RELATIONS
  }
  ragged["questions/tokens"] = questions["tokens"]
  for name, rows in ragged.items():
    flat, lengths = _flatten(rows)
    values[f"{name}/ragged_flat_values"] = ("int64", flat)
    values[f"{name}/ragged_row_lengths_0"] = ("int64", lengths)
  for name in _QUESTION_TEXTS:
    texts = [text.encode() for text in questions[name]]
    values[f"questions/{name}"] = ("bytes", texts)
  for name in _QUESTION_NUMBERS:
    values[f"questions/{name}"] = ("int64", questions[name])
  return encode_example(values)


def _check_length(scene: dict, name: str, values, length: int) -> None:
  if len(values) != length:
    raise ValueError(
      f"{scene['image_filename']}: {name} has {len(values)} entries instead of"
      f" {length}"
    )


def get_feature(features: dict[str, tuple[str, list]], name: str) -> list:
  """Returns the values of a feature that `decode_example` found.

  Raises:
    RecordError: It is not there.
  """
  try:
    return features[name][1]
  except KeyError:
    raise RecordError(
      f"the record has no field {name!r}; it was not written by this"
      " version: convert the data again"
    ) from None


def decode_scene(payload: bytes) -> dict:
  """Decodes one record.

  With N objects and Q questions a scene is a dictionary of
    image: bytes of a PNG file, or None (data without images).
    image_filename: str.
    image_index: int, index within the split.
    objects: "3d_coords" and "pixel_coords" float32 [N, 3], "rotation" float32
      [N]; "color", "material", "shape", "size" int64 [N], indices into
      `rn_jax.clevr.ATTRIBUTES[name]` and behind that the vocabulary's
      "attributes". pixel_coords and rotation are NaN where
      not given. N = 0 where scenes are not published or not CLEVR's.
      In records converted with annotations also of what is seen of each object
      "bbox" float32 [N, 4], left, upper, right and lower edge in units of the
      picture's width and height; and its mask, "mask", a list of str, COCO's
      compressed counts, with "mask_size" int64 [N, 2], height and width of the
      annotated picture in pixels. Zeros and no pixels where nothing is seen.
    relationships: "left", "right", "front", "behind", each a list of N lists:
      the objects that lie on that side of object i.
    questions: "text" and "family" lists of str ("one_hop/3" for a template of
      a file, "17" for an index over all files, "" unknown); "tokens" a list of
      int64 arrays of vocabulary indices (from 1) in reading order; and int64
      [Q]: "answer" (vocabulary index - 1, or -1 unknown), "question_index" (as
      in the questions file of the split if it rises there, else the position),
      "function" (index into `rn_jax.clevr.ANSWER_FUNCTIONS`, or -1),
      "question_type" (index into `tuple(rn_jax.clevr.QUESTION_TYPES)`, or -1).

  Raises:
    RecordError: The payload is no record of this version.
  """
  features = decode_example(payload)

  def get(name: str) -> list:
    return get_feature(features, name)

  def array(name: str, dtype) -> np.ndarray:
    return np.array(get(name), dtype)

  def rows(name: str) -> list[list[int]]:
    flat = iter(get(f"{name}/ragged_flat_values"))
    lengths = get(f"{name}/ragged_row_lengths_0")
    return [list(itertools.islice(flat, length)) for length in lengths]

  objects: dict[str, list | np.ndarray] = {
    name: array(f"objects/{name}", np.int64) for name in ATTRIBUTES
  }
  objects["rotation"] = array("objects/rotation", np.float32)
  for name in ("3d_coords", "pixel_coords"):
    objects[name] = array(f"objects/{name}", np.float32).reshape(-1, 3)
  if "objects/mask" in features:
    objects["bbox"] = array("objects/bbox", np.float32).reshape(-1, 4)
    objects["mask"] = [mask.decode() for mask in get("objects/mask")]
    objects["mask_size"] = array("objects/mask_size", np.int64).reshape(-1, 2)
  questions: dict[str, list | np.ndarray] = {
    name: [text.decode() for text in get(f"questions/{name}")]
    for name in _QUESTION_TEXTS
  }
  questions["tokens"] = [
    np.array(tokens, np.int64) for tokens in rows("questions/tokens")
  ]
  for name in _QUESTION_NUMBERS:
    questions[name] = array(f"questions/{name}", np.int64)
  return {
    "image": get("image")[0] if "image" in features else None,
    "image_filename": get("image_filename")[0].decode(),
    "image_index": get("image_index")[0],
    "objects": objects,
    "relationships": {r: rows(f"relationships/{r}") for r in RELATIONS},
    "questions": questions,
  }


def read_manifest(records_dir: str | os.PathLike) -> dict:
  """Returns the manifest of a finished records folder.

  Raises:
    RecordError: The folder is missing, unfinished, or of another version.
  """
  records_dir = Path(local_path(records_dir))
  path = records_dir / MANIFEST
  if not records_dir.is_dir():
    raise RecordError(
      f"{records_dir}: no such records folder; make one with"
      " `python -m data_prep.convert_clevr --clevr_dir=... "
      f"--output_dir={records_dir}`"
    )
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
  path = Path(local_path(records_dir)) / VOCABULARY
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
  return [Path(local_path(records_dir)) / shard["filename"] for shard in shards]


def read_scenes(
  records_dir: str | os.PathLike,
  split: str,
  decode: Callable[[bytes], dict] = decode_scene,
  start: int = 0,
) -> Iterator[dict]:
  """Yields the scenes of a split, and checks that none is missing.

  Args:
    records_dir: The records folder.
    split: Name of the split.
    decode: Decodes a record; `decode_scene` or a part of it.
    start: Scene to begin with; shards before it are not read.

  Raises:
    RecordError: A shard is damaged, or does not hold what the manifest says.
  """
  for shard in read_split(records_dir, split)["shards"]:
    if start >= shard["num_records"]:
      start -= shard["num_records"]
      continue
    path = Path(local_path(records_dir)) / shard["filename"]
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
