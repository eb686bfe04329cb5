"""Records to the arrays that networks read, a part of a split at a time."""

import collections
import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent import futures

import ml_collections
import numpy as np

from rn_jax.clevr import ATTRIBUTES
from rn_jax.data import records
from rn_jax.data.array_file import ArrayStream
from rn_jax.data.images import ImageError, read_image
from rn_jax.data.scene_example import program_lengths
from rn_jax.data.states import read_states
from rn_jax.data.tfrecord import decode_example
from rn_jax.data.vocabulary import MAX_WORDS
from rn_jax.host.progress import progress_bar

_SCENES_PER_PART = 128
# The least padding. Networks that read padding, see default_config.py, were
# trained with some; to others it makes no difference.
_PADDING = 8
_COLUMNS = 50
_NUMBERS = ("answer", "question_type", "function", "question_index")
_OF_OBJECTS = ("3d_coords", *ATTRIBUTES)
_TOKENS = "questions/tokens/ragged_flat_values"
_LENGTHS = "questions/tokens/ragged_row_lengths_0"


def read_streams(
  config: ml_collections.ConfigDict,
  inputs: str,
  split: str,
  shards: Sequence[Mapping],
) -> Iterator[ArrayStream]:
  """Yields the arrays of some shards of a split; see dataset.Dataset.

  The scenes come first and are never in memory together. Images are decoded
  on all cores, for Pillow lets other threads run meanwhile.

  Args:
    config: The `data` part of a config.
    inputs: "pixels" or "states".
    split: Name of the split.
    shards: Which to read, as the manifest has them.

  Raises:
    RecordError: The folder or a shard is unusable, or does not hold what the
      network reads.
  """
  num_scenes = sum(shard["num_records"] for shard in shards)
  where = f"{config.dir}: {split}"
  progress = progress_bar(
    records.read_scenes(
      config.dir,
      split,
      functools.partial(_decode_scene, inputs, config.boxes),
      shards=shards,
    ),
    total=num_scenes,
    desc=f"decoding {split}",
    unit=" scenes",
  )
  columns = collections.defaultdict(list)
  parts = _collect(progress, columns)
  if inputs == "pixels":
    shape = (num_scenes, config.image_size, config.image_size, 3)
    images = _decode_images(parts, config.image_size, where)
    yield ArrayStream("image", np.uint8, shape, images)
  else:
    columns_of = 3 + len(ATTRIBUTES) + 4 * config.boxes
    shape = (num_scenes, config.max_objects, columns_of)
    objects = (
      np.stack([read_states(scene, config, where) for scene in part])
      for part in parts
    )
    yield ArrayStream("objects", np.float32, shape, objects)
  for name, values in _question_arrays(columns, config, where).items():
    yield ArrayStream(name, values.dtype, values.shape, [values])


def _decode_scene(inputs: str, boxes: bool, payload: bytes) -> dict:
  """Decodes of a record what a network reads, several times as fast as all.

  Returns:
    Some of records.decode_scene's fields; `questions` has the words of all
    questions in a row, `words`, and their numbers, `length`.
  """
  names = [_TOKENS, _LENGTHS, "image_filename", "questions/family"]
  names += [f"questions/{name}" for name in _NUMBERS]
  if inputs == "pixels":
    names.append("image")
  else:
    fields = (*_OF_OBJECTS, "bbox") if boxes else _OF_OBJECTS
    names += [f"objects/{name}" for name in fields]
  features = decode_example(payload, names)
  get = functools.partial(records.get_feature, features)
  scene = {"image_filename": get("image_filename")[0].decode()}
  if inputs == "pixels":
    scene["image"] = get("image")[0] if "image" in features else None
  else:
    scene["objects"] = _objects(features, fields)
  questions = {name: get(f"questions/{name}") for name in _NUMBERS}
  questions["words"], questions["length"] = get(_TOKENS), get(_LENGTHS)
  questions["family"] = [x.decode() for x in get("questions/family")]
  return {**scene, "questions": questions}


def decode_index(payload: bytes) -> dict:
  """Decodes a record's `image_index`, and what read_scenes counts."""
  names = ["image_index", "questions/answer"]
  features = decode_example(payload, names)
  get = functools.partial(records.get_feature, features)
  return {
    "image_index": get("image_index")[0],
    "questions": {"answer": get("questions/answer")},
  }


def decode_program_lengths(payload: bytes) -> dict:
  """Decodes of a record's questions their answers and program lengths."""
  names = ["questions/answer", "questions/program_length"]
  features = decode_example(payload, names)
  return {
    "questions": {
      "answer": records.get_feature(features, "questions/answer"),
      "program_length": program_lengths(features),
    }
  }


def decode_objects(payload: bytes) -> dict:
  """Decodes of a record where in its picture which objects are, and no more.

  Returns:
    `image_filename`, `objects`, and of `questions` what read_scenes counts; see
    records.decode_scene.
  """
  fields = (*_OF_OBJECTS, "pixel_coords")
  names = ["image_filename", "questions/answer"]
  names += [f"objects/{name}" for name in fields]
  features = decode_example(payload, names)
  get = functools.partial(records.get_feature, features)
  return {
    "image_filename": get("image_filename")[0].decode(),
    "objects": _objects(features, fields),
    "questions": {"answer": get("questions/answer")},
  }


def _objects(features: dict, fields: Iterable[str]) -> dict[str, np.ndarray]:
  objects = {
    name: np.array(records.get_feature(features, f"objects/{name}"))
    for name in fields
    if f"objects/{name}" in features or name != "bbox"
  }
  for name in objects:
    if name.endswith("_coords"):
      objects[name] = objects[name].reshape(-1, 3)
  return objects


def _collect(
  scenes: Iterable[dict], columns: dict[str, list]
) -> Iterator[list[dict]]:
  """Yields scenes in parts; their questions are put into columns."""
  scenes, rows = iter(scenes), itertools.count()
  while part := list(itertools.islice(scenes, _SCENES_PER_PART)):
    for scene in part:
      row, questions = next(rows), scene.pop("questions")
      columns["scene"] += [row] * len(questions["length"])
      columns["image_filename"].append(scene["image_filename"])
      for name, values in questions.items():
        columns[name] += values
    yield part


def stored_length(config: ml_collections.ConfigDict) -> int | None:
  """Returns how long questions may be as records have them; None: any length.

  Where marks are read in another way, only then one knows how long they are.
  """
  split = config.punctuation == "split"
  return config.max_question_length if split else None


def _question_arrays(
  columns: dict[str, list], config: ml_collections.ConfigDict, where: str
) -> dict[str, np.ndarray]:
  words, lengths = (
    np.array(columns[name], np.int32) for name in ("words", "length")
  )
  if words.max(initial=0) > MAX_WORDS:
    raise records.RecordError(f"{where} has words beyond number {MAX_WORDS:,}")
  numbers = {
    name: np.array(columns[name], np.int32) for name in (*_NUMBERS, "scene")
  }
  return {
    "question": pad_rows(
      words.astype(np.int16), lengths, stored_length(config), where
    ),
    "question_length": lengths,
    **numbers,
    "family": np.array(columns["family"]),
    "image_filename": np.array(columns["image_filename"]),
  }


def _decode_images(
  parts: Iterable[list[dict]], size: int, where: str
) -> Iterator[np.ndarray]:
  """Decodes parts on all cores; yields [n, size, size, 3] uint8 in order."""
  workers = os.cpu_count() or 1

  def decode(part):
    images = np.empty((len(part), size, size, 3), np.uint8)
    for scene, out in zip(part, images, strict=True):
      name = scene["image_filename"]
      decode_image(scene["image"], out, f"{where} scene {name}")
    return images

  with futures.ThreadPoolExecutor(workers) as pool:
    pending = collections.deque()
    for part in parts:
      pending.append(pool.submit(decode, part))
      if len(pending) > 2 * workers:
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()


def decode_image(png: bytes | None, out: np.ndarray, where: str) -> None:
  """Decodes an image into `out`, [size, size, 3] uint8."""
  if png is None:
    raise records.RecordError(
      f"{where} has no image: these records hold state descriptions only. "
      "Train with a *_sd config, or convert data with images"
    )
  try:
    image = read_image(png, name=where)
  except ImageError as error:
    raise records.RecordError(f"{error}; convert it again") from error
  size = len(out)
  if image.shape != out.shape:
    raise records.RecordError(
      f"{where} is {image.shape[1]}x{image.shape[0]} pixels, the network reads "
      f"{size}x{size}: convert with --image_size={size}, or set "
      "--config.data.image_size"
    )
  out[:] = image


def pad_questions(
  tokens: list[np.ndarray], max_length: int | None, where: str
) -> np.ndarray:
  """Returns token lists as rows padded with zeros, [Q, T] int32.

  Args:
    tokens: Q arrays of word indices.
    max_length: T; None: the longest question.
    where: What to name in an error.

  Raises:
    RecordError: A question is longer than max_length.
  """
  lengths = np.array([len(row) for row in tokens])
  words = np.concatenate(tokens).astype(np.int32)
  return pad_rows(words, lengths, max_length, where)


def pad_rows(
  words: np.ndarray, lengths: np.ndarray, max_length: int | None, where: str
) -> np.ndarray:
  """As `pad_questions`, for the words of all Q questions in a row."""
  longest = lengths.max(initial=0)
  if max_length and longest > max_length:
    raise records.RecordError(
      f"{where} has a question of {longest} words, more than "
      f"--config.data.max_question_length={max_length}; raise it"
    )
  padded = np.zeros((len(lengths), max_length or longest), words.dtype)
  padded[np.arange(padded.shape[1]) < lengths[:, None]] = words
  return padded


def roomy_length(longest: int, max_length: int | None) -> int:
  """Returns how far to pad questions that come without others to pad them to.

  It is a multiple of max_length, or of 50, so that a network need not be
  compiled anew for each length.

  Args:
    longest: Words of the longest one.
    max_length: `data.max_question_length`.
  """
  columns = max_length or _COLUMNS
  return -(-(longest + _PADDING) // columns) * columns
