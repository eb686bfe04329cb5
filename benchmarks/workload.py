"""What benchmarks work on, random data of CLEVR's shape, and its results."""

import importlib
from typing import Any

import jax
import ml_collections
import numpy as np

from rn_jax.clevr import ATTRIBUTES
from rn_jax.data.dataset import Dataset

# CLEVR's vocabulary, its longest question, and how long they are, in tokens.
NUM_WORDS, NUM_ANSWERS, LONGEST = 82, 28, 45
MEAN_LENGTH, STANDARD_DEVIATION = 19.6, 6.7


def load_config(name: str) -> ml_collections.ConfigDict:
  """Returns the experiment of a config file, as in "ir_fp" or "tiny:ir_fp"."""
  module, _, argument = name.partition(":")
  module = importlib.import_module(f"configs.{module}")
  return module.get_config(*filter(None, [argument]))


def random_dataset(
  config: ml_collections.ConfigDict, num_scenes: int, per_scene: int
) -> Dataset:
  """Makes a split of `num_scenes` with `per_scene` questions each."""
  rng = np.random.default_rng(0)
  data = config.data
  if config.model.inputs == "pixels":
    shape = (num_scenes, data.image_size, data.image_size, 3)
    scenes = {"image": rng.integers(0, 256, shape, np.uint8)}
  else:
    mask = np.arange(data.max_objects) < rng.integers(3, 11, (num_scenes, 1))
    columns = [rng.uniform(-3, 3, (*mask.shape, 3))]
    for values in ATTRIBUTES.values():
      columns.append(rng.integers(1, len(values) + 1, (*mask.shape, 1)))
    objects = np.concatenate(columns, -1).astype(np.float32)
    scenes = {"objects": objects * mask[..., None], "object_mask": mask}
  number = num_scenes * per_scene
  length = rng.normal(MEAN_LENGTH, STANDARD_DEVIATION, number).round()
  length = np.clip(length.astype(int), 5, LONGEST)
  question = rng.integers(1, NUM_WORDS + 1, (number, LONGEST))
  question *= np.arange(LONGEST) < length[:, None]
  unknown = np.full(number, -1, np.int32)
  return Dataset(
    split="random",
    scenes=scenes,
    questions={
      "question": question.astype(np.int32),
      "question_length": length.astype(np.int32),
      "answer": rng.integers(0, NUM_ANSWERS, number, np.int32),
      "question_type": unknown,
      "function": unknown,
      "question_index": np.arange(number, dtype=np.int32),
      "scene": np.repeat(np.arange(num_scenes, dtype=np.int32), per_scene),
    },
    family=np.full(number, ""),
    image_filename=np.full(num_scenes, ""),
    vocabulary={
      "questions": {f"word_{i}": i for i in range(1, NUM_WORDS + 1)},
      "answers": {f"answer_{i}": i for i in range(1, NUM_ANSWERS + 1)},
    },
    sha256="",
  )


def difference(found: Any, expected: Any) -> float:
  """Returns the largest of the arrays' relative differences, of L2 norms.

  Not the largest of the entries': where rounding flips one ReLU of millions,
  a single entry may be far off.
  """
  trees = (jax.tree.leaves(jax.device_get(x)) for x in (found, expected))
  return max(
    float(np.linalg.norm(a - b) / np.linalg.norm(b))
    for a, b in zip(*trees, strict=True)
  )


def exact(dtype: str) -> bool:
  """Whether products are as exact as float32; accelerators shorten it."""
  return dtype == "float32" and jax.default_backend() == "cpu"
