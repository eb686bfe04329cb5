"""What rankings are worth: distances that see little of a scene, or all of it.

The sanity rows know nothing, or the number of objects alone. The oracles are
histograms over what the scene graph says, compared by Euclidean distance.
"""

import numpy as np

from rn_jax.clevr import ATTRIBUTES
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs

RANDOM_SIZE = 512
_SIZES = [len(values) for values in ATTRIBUTES.values()]


def random_descriptor(num_scenes: int, seed: int = 0) -> np.ndarray:
  """Uniform numbers from 0 to 1, float32 [S, 512]."""
  rng = np.random.default_rng(seed)
  return rng.random((num_scenes, RANDOM_SIZE), np.float32)


def object_count(scenes: SceneGraphs, queries: np.ndarray) -> np.ndarray:
  """The database image's number of objects, whatever the query: [Q, S]."""
  return np.tile(scenes.num_objects, (len(queries), 1))


def count_difference(scenes: SceneGraphs, queries: np.ndarray) -> np.ndarray:
  """By how many objects the images differ: [Q, S]; queries are positions."""
  return np.abs(scenes.num_objects[queries, None] - scenes.num_objects)


def attribute_histogram(scenes: SceneGraphs) -> np.ndarray:
  """How many objects have each attribute value: float32 [S, 15]."""
  return _values(scenes).sum(axis=1, dtype=np.float32)


def type_histogram(scenes: SceneGraphs) -> np.ndarray:
  """How many objects have each combination of values: float32 [S, 96]."""
  values = np.moveaxis(np.maximum(scenes.attributes, 0), -1, 0)
  kind = np.asarray(np.ravel_multi_index(values, _SIZES))
  result = np.zeros((len(scenes), np.prod(_SIZES)), np.float32)
  scene, row = np.nonzero(scenes.attributes[..., 0] >= 0)
  np.add.at(result, (scene, kind[scene, row]), 1)
  return result


def relation_histogram(scenes: SceneGraphs) -> np.ndarray:
  """How often a value is right of, or in front of, another.

  Returns:
    float32 [S, 450]: by order, value of the object that is further right (or
    front), and value of the other one.
  """
  values = _values(scenes)  # [S, M, 15]
  exists = scenes.ranks[..., 0] >= 0
  pairs = exists[:, :, None] & exists[:, None]
  result = []
  for ranks in np.moveaxis(scenes.ranks, -1, 0):
    after = (ranks[:, :, None] > ranks[:, None]) & pairs  # [S, M, M]
    second = after.astype(np.float32) @ values
    result.append(values.transpose(0, 2, 1) @ second)
  return np.stack(result, axis=1).reshape(len(scenes), -1)


def _values(scenes: SceneGraphs) -> np.ndarray:
  """One-hot attributes side by side: float32 [S, M, 15], 0 past the objects."""
  parts = [
    scenes.attributes[..., i, None] == np.arange(size)
    for i, size in enumerate(_SIZES)
  ]
  return np.concatenate(parts, axis=-1).astype(np.float32)
