"""Synthetic relation vectors, as many as wanted, and their exact neighbours.

A scene has 3 to 10 objects, each with a place and one value of every attribute,
all of them random. Every ordered pair of its objects goes through one layer of
random weights and a ReLU; the mean over the pairs, at unit length, is the
vector, as descriptors of the kind `g1_avg` are made. So vectors cluster by what
is in a scene, and within a cluster differ by where it stands.
"""

from collections.abc import Iterable

import numpy as np

_BLOCK = 1000  # scenes of one random state
_MOST_OBJECTS = 10
# Of an object: one of each attribute's values; its place are three numbers.
_ATTRIBUTES = (2, 2, 3, 8)


def relation_vectors(
  count: int, dimension: int, seed: int, start: int = 0
) -> np.ndarray:
  """Returns vectors [count, dimension] float32 of random scenes.

  Args:
    count: How many.
    dimension: Numbers in a vector.
    seed: Which scenes; the layer is the same for all seeds.
    start: The first scene, a multiple of 1,000.
  """
  layer = np.random.default_rng(0)
  width = 3 + sum(_ATTRIBUTES)
  kernels = layer.normal(size=(2, width, dimension)).astype(np.float32)
  bias = layer.normal(size=dimension).astype(np.float32)
  out = np.zeros((count, dimension), np.float32)
  for done in range(0, count, _BLOCK):
    rng = np.random.default_rng((1, seed, (start + done) // _BLOCK))
    places = rng.uniform(-1, 1, (_BLOCK, _MOST_OBJECTS, 3))
    values = [
      np.eye(size)[rng.integers(size, size=places.shape[:2])]
      for size in _ATTRIBUTES
    ]
    number = rng.integers(3, _MOST_OBJECTS + 1, _BLOCK)
    part = out[done : done + _BLOCK]
    scenes = np.concatenate([places, *values], 2).astype(np.float32)[
      : len(part)
    ]
    first, second = (scenes @ kernel for kernel in kernels)  # [S, 10, D]
    for size in range(3, _MOST_OBJECTS + 1):
      rows = np.flatnonzero(number[: len(part)] == size)
      a, b = first[rows, :size], second[rows, :size] + bias
      for j in range(size):
        part[rows] += np.maximum(a + b[:, j, None], 0).sum(1)
  out /= np.linalg.norm(out, axis=1, keepdims=True)
  return out


def brute_force(
  parts: Iterable[np.ndarray], queries: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, float]:
  """Finds the nearest rows of vectors in float64, block by block.

  Args:
    parts: The vectors [n, D], in order.
    queries: [Q, D].
    k: How many to find, at most as many as the first block of 10,000 holds.

  Returns:
    Rows and distances, both [Q, k], nearest first; and the mean distance.
  """
  queries = queries.astype(np.float64)
  best, rows, total, before = [], [], 0.0, 0
  for part in parts:
    for start in range(0, len(part), 10 * _BLOCK):
      x = part[start : start + 10 * _BLOCK].astype(np.float64)
      squared = (x**2).sum(1) - 2 * queries @ x.T
      squared += (queries**2).sum(1)[:, None]
      distance = np.sqrt(np.maximum(squared, 0))
      total += distance.sum()
      near = np.argpartition(distance, min(k, len(x) - 1))[:, :k]
      best.append(np.take_along_axis(distance, near, 1))
      rows.append(near + before + start)
    before += len(part)
  best, rows = (np.concatenate(found, 1) for found in (best, rows))
  order = np.argsort(best, 1)[:, :k]
  found = (np.take_along_axis(array, order, 1) for array in (rows, best))
  return *found, total / (len(queries) * before)
