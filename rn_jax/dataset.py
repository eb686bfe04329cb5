"""Records to arrays in memory.

CLEVR's 70,000 training images are 3.4 GB at 128x128, so a split is read once
and kept.
"""

import collections
import dataclasses
import hashlib
import io
from concurrent import futures

import ml_collections
import numpy as np
import tqdm
from PIL import Image

from rn_jax import records
from rn_jax.clevr import ATTRIBUTES
from rn_jax.vocabulary import answers_by_id

_NUMBERS = ("answer", "question_type", "function", "question_index")


@dataclasses.dataclass(frozen=True)
class Dataset:
  """One split in memory.

  Attributes:
    split: Its name.
    scenes: From pixels `image` [S, H, W, 3] uint8; from states `objects`
      [S, N, 7] float32 (x, y, z and one-based attribute indices, zero rows
      behind) and `object_mask` [S, N] bool.
    questions: `question` [Q, T] int32, zero-padded; `question_length`,
      `answer` (zero-based, -1 where not published), `question_type`,
      `function`, `question_index`, `scene` (row in scenes), each [Q] int32.
    family: [Q] str.
    image_filename: [S] str.
    vocabulary: {"questions": {word: index}, "answers": {answer: index}}, both
      from 1.
    sha256: Hash of the split's shards.
  """

  split: str
  scenes: dict[str, np.ndarray]
  questions: dict[str, np.ndarray]
  family: np.ndarray
  image_filename: np.ndarray
  vocabulary: dict[str, dict[str, int]]
  sha256: str

  @property
  def num_questions(self) -> int:
    return len(self.family)

  @property
  def answers(self) -> list[str]:
    """The answers by zero-based id."""
    return answers_by_id(self.vocabulary["answers"])


def load_dataset(
  config: ml_collections.ConfigDict, inputs: str, split: str
) -> Dataset:
  """Reads a split of a records folder into memory.

  Args:
    config: The `data` part of a config.
    inputs: "pixels" or "states".
    split: Name of the split.

  Returns:
    The split.

  Raises:
    RecordError: The folder or a shard is unusable, or does not hold what the
      network reads (images of the right size, objects, short questions).
  """
  entry = records.read_split(config.dir, split)
  num_scenes, size = entry["num_scenes"], config.image_size
  columns = collections.defaultdict(list)
  scenes = {}
  if inputs == "pixels":
    scenes["image"] = np.empty((num_scenes, size, size, 3), np.uint8)
  else:
    shape = (num_scenes, config.max_objects, 3 + len(ATTRIBUTES))
    scenes["objects"] = np.empty(shape, np.float32)
  decoding = []
  progress = tqdm.tqdm(
    records.read_scenes(config.dir, split),
    total=num_scenes,
    desc=f"reading {split}",
    unit=" scenes",
    mininterval=1.0,
  )
  with futures.ThreadPoolExecutor() as pool:
    for row, scene in enumerate(progress):
      where = f"{config.dir}: {split} scene {scene['image_filename']}"
      columns["image_filename"].append(scene["image_filename"])
      if inputs == "pixels":
        decoding.append(
          pool.submit(decode_image, scene["image"], scenes["image"][row], where)
        )
      else:
        scenes["objects"][row] = state_description(
          scene["objects"], config.max_objects, where
        )
      questions = scene["questions"]
      for name in _NUMBERS:
        columns[name].append(questions[name])
      columns["tokens"] += questions["tokens"]
      columns["family"] += questions["family"]
      columns["scene"].append(np.full(len(questions["tokens"]), row))
    for image in decoding:
      image.result()  # raises what the thread raised
  if inputs == "states":
    scenes["object_mask"] = scenes["objects"].any(-1)
  return Dataset(
    split=split,
    image_filename=np.array(columns["image_filename"]),
    scenes=scenes,
    questions={
      "question": pad_questions(
        columns["tokens"], config.max_question_length, f"{config.dir}: {split}"
      ),
      "question_length": np.array(
        [len(tokens) for tokens in columns["tokens"]], np.int32
      ),
      **{
        name: np.concatenate(columns[name]).astype(np.int32)
        for name in (*_NUMBERS, "scene")
      },
    },
    family=np.array(columns["family"]),
    vocabulary=records.read_vocabulary(config.dir),
    sha256=hashlib.sha256(
      "".join(shard["sha256"] for shard in entry["shards"]).encode()
    ).hexdigest(),
  )


def decode_image(png: bytes | None, out: np.ndarray, where: str) -> None:
  """Decodes an image into `out`, [size, size, 3] uint8."""
  if png is None:
    raise records.RecordError(
      f"{where} has no image: these records hold state descriptions only. "
      "Train with a *_sd config, or convert data with images"
    )
  try:
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
  except OSError as error:
    raise records.RecordError(
      f"{where}: its image cannot be decoded ({error}); convert it again"
    ) from None
  size = len(out)
  if image.shape != out.shape:
    raise records.RecordError(
      f"{where} is {image.shape[1]}x{image.shape[0]} pixels, the network reads "
      f"{size}x{size}: convert with --image_size={size}, or set "
      "--config.data.image_size"
    )
  out[:] = image


def state_description(
  objects: dict[str, np.ndarray], max_objects: int, where: str
) -> np.ndarray:
  """Returns the rows [max_objects, 7] of a scene's objects; see Dataset.

  Raises:
    RecordError: There are no objects, or too many.
  """
  coordinates = objects["3d_coords"]
  if not 0 < len(coordinates) <= max_objects:
    raise records.RecordError(
      f"{where} has {len(coordinates)} objects; a network on state "
      f"descriptions reads 1 to {max_objects} (--config.data.max_objects)"
    )
  rows = np.zeros((max_objects, 3 + len(ATTRIBUTES)), np.float32)
  rows[: len(coordinates), :3] = coordinates
  for column, name in enumerate(ATTRIBUTES, start=3):
    rows[: len(coordinates), column] = objects[name] + 1
  return rows


def pad_questions(
  tokens: list[np.ndarray], max_length: int, where: str
) -> np.ndarray:
  """Returns token lists as rows padded with zeros, [Q, T] int32.

  Args:
    tokens: Q arrays of word indices.
    max_length: T; 0: the longest question.
    where: What to name in an error.

  Raises:
    RecordError: A question is longer than max_length.
  """
  longest = max((len(row) for row in tokens), default=0)
  if max_length and longest > max_length:
    raise records.RecordError(
      f"{where} has a question of {longest} words, more than "
      f"--config.data.max_question_length={max_length}; raise it"
    )
  padded = np.zeros((len(tokens), max_length or longest), np.int32)
  for row, words in zip(padded, tokens, strict=True):
    row[: len(words)] = words
  return padded
