"""A split as arrays: in memory, or mapped into it from a cache on disk."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_collections
import numpy as np
from absl import logging

from rn_jax.clevr import ATTRIBUTES
from rn_jax.data import records
from rn_jax.data.array_cache import load_arrays
from rn_jax.data.array_file import join
from rn_jax.data.decode import read_streams, stored_length
from rn_jax.data.punctuation import renumber
from rn_jax.data.states import state_arrays
from rn_jax.data.vocabulary import answers_by_id

# To be raised when the arrays made from the same records change.
_CACHE_VERSION = 1


class Share(NamedTuple):
  """Shards that one of several processes has to itself: every count-th."""

  index: int
  count: int


WHOLE = Share(0, 1)


class FromFile(NamedTuple):
  """Questions that did not come with their scenes.

  Attributes:
    path: The file that they are of; they are in its order.
    unknown_words: How many questions were left out for each word that the
      vocabulary lacks.
    num_skipped: How many were left out for that.
    unknown_answers: Answers that the vocabulary lacks, by question.
  """

  path: Path
  unknown_words: Mapping[str, int]
  num_skipped: int
  unknown_answers: Mapping[int, str]


@dataclasses.dataclass(frozen=True)
class Dataset:
  """One split.

  Attributes:
    split: Its name; of questions from a file also the file's.
    scenes: From pixels `image` [S, H, W, 3] uint8; from states `objects`
      [S, N, 7] float32 (x, y, z and one-based attribute indices, zero rows
      behind), `object_mask` [S, N] bool, and if asked for `boxes` [S, N, 4].
    questions: `question` [Q, T] int16, zero-padded; `question_length`,
      `answer` (zero-based, -1 where not published, -2 where the vocabulary
      lacks it), `question_type`,
      `function`, `question_index`, `scene` (row in scenes), each [Q] int32.
      Where nothing is asked, `scene` alone.
    family: [Q] str.
    image_filename: [S] str.
    vocabulary: {"questions": {word: index}, "answers": {answer: index}}, both
      from 1; see rn_jax/data/vocabulary.py. The words are those that the
      network reads, see punctuation.py.
    sha256: Hash of the split's shards.
    share: The shards whose scenes and questions these are.
    from_file: Of questions from a file, what else is to be told of them; they
      are in its order, others in that of the scenes.
  """

  split: str
  scenes: dict[str, np.ndarray]
  questions: dict[str, np.ndarray]
  family: np.ndarray
  image_filename: np.ndarray
  vocabulary: dict[str, dict]
  sha256: str
  share: Share = WHOLE
  from_file: FromFile | None = None

  @property
  def num_questions(self) -> int:
    return len(self.family)

  @property
  def answers(self) -> list[str]:
    """The answers by zero-based id."""
    return answers_by_id(self.vocabulary["answers"])


def load_dataset(
  config: ml_collections.ConfigDict,
  inputs: str,
  split: str,
  share: Share = WHOLE,
) -> Dataset:
  """Loads a split of a records folder.

  Decodes it on all cores and, if config.cache says so, keeps the arrays in a
  file that later calls map into memory; see array_cache.py. Warns where the
  conversion left scenes out.

  Args:
    config: The `data` part of a config.
    inputs: "pixels" or "states".
    split: Name of the split.
    share: Shards to read; the others are not opened.

  Returns:
    The split; its arrays are read-only.

  Raises:
    RecordError: The folder or a shard is unusable, or does not hold what the
      network reads (images of the right size, objects such as CLEVR's, short
      questions); or there are too few shards to share.
    ValueError: config.punctuation is none that it may be.
  """
  entry = records.read_split(config.dir, split)
  # Records of earlier versions have no warnings.
  left_out = entry.get("warnings", {}).get("missing_images")
  if left_out:
    logging.warning(
      "%s: split %r is without %d scenes, which had no image when it was "
      "converted, and their questions. The first is %s",
      config.dir,
      split,
      left_out["count"],
      json.dumps(left_out["first"]),
    )
  vocabulary = records.read_vocabulary(config.dir)
  if inputs == "states":
    records.check_clevr(
      vocabulary, f"{config.dir}: networks on state descriptions"
    )
  shards = entry["shards"][share.index :: share.count]
  if len(entry["shards"]) < share.count:
    raise records.RecordError(
      f"{config.dir}: split {split!r} has {len(entry['shards'])} shards, too "
      f"few for {share.count} processes with shards of their own: set "
      "--config.data.own_shards=False, or convert with "
      f"--num_shards={share.count} or more"
    )
  streams = functools.partial(read_streams, config, inputs, split, shards)
  if config.cache:
    size = config.image_size if inputs == "pixels" else config.max_objects
    read = "boxes" if inputs == "states" and config.boxes else inputs
    settings = [split, read, size, stored_length(config) or 0]
    if share.count > 1:
      settings.append(f"{share.index}of{share.count}")
    key = json.dumps([_CACHE_VERSION, *settings, *_hashes(shards)])
    arrays = load_arrays(
      config.dir,
      "-".join(map(str, settings)) + ".arrays",
      hashlib.sha256(key.encode()).hexdigest(),
      streams,
      _num_bytes(config, inputs, shards),
    )
  else:
    arrays = join(streams())
  for values in arrays.values():
    values.flags.writeable = False
  scenes = {k: arrays.pop(k) for k in ("image", "objects") if k in arrays}
  if "objects" in scenes:
    scenes = state_arrays(scenes["objects"])
  if config.punctuation != "split":
    question, length, vocabulary["questions"] = renumber(
      arrays["question"],
      arrays["question_length"],
      vocabulary["questions"],
      config.punctuation,
      config.max_question_length,
      f"{config.dir}: {split}",
    )
    arrays |= {"question": question, "question_length": length}
  return Dataset(
    split=split,
    scenes=scenes,
    family=arrays.pop("family"),
    image_filename=arrays.pop("image_filename"),
    questions=arrays,
    vocabulary=vocabulary,
    sha256=hashlib.sha256(
      "".join(_hashes(entry["shards"])).encode()
    ).hexdigest(),
    share=share,
  )


def _hashes(shards: Sequence[Mapping]) -> list[str]:
  return [shard["sha256"] for shard in shards]


def _num_bytes(
  config: ml_collections.ConfigDict, inputs: str, shards: Sequence[Mapping]
) -> int:
  """Returns about how large the arrays of some shards are."""
  if inputs == "pixels":
    per_scene = 3 * config.image_size**2
  else:
    per_scene = 4 * config.max_objects * (3 + len(ATTRIBUTES) + 4)
  per_question = 200  # words, numbers and the family's name
  return sum(
    shard["num_records"] * per_scene + shard["num_questions"] * per_question
    for shard in shards
  )
