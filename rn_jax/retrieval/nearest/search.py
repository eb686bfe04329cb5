"""Exact search for the nearest vectors, in blocks that bound the memory.

A block of the database at a time is multiplied with all queries on the device.
Descriptors of similar images are nearly equal, so squared distances are taken
from the database's mean, where float32 is fine enough to choose candidates;
their distances are then computed in float64, which also decides the order.
"""

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

METRICS = ("euclidean", "cosine")
# Databases up to this size stay on the device ...
_KEPT_BYTES = 1 << 26
# ... and larger ones are read in blocks of this size. Larger blocks would be
# new memory for each, which costs more than the search.
_BLOCK_BYTES = 1 << 23
_QUERIES_PER_BLOCK = 256
# Candidates beyond k, among which exact distances decide.
_MARGIN = 32


def prepare(vectors: np.ndarray, metric: str) -> np.ndarray:
  """Returns vectors [N, D] as they are searched for and among.

  For "cosine" they are scaled to unit length; zeros stay zeros.
  """
  if metric not in METRICS:
    raise ValueError(f"metric is {metric!r}, not one of {', '.join(METRICS)}")
  if metric == "euclidean":
    return vectors
  norm = np.linalg.norm(vectors, axis=1, keepdims=True)
  return (vectors / np.maximum(norm, 1e-12)).astype(np.float32)


def distances(rows: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
  """Returns the distances [N] of prepared rows [N, D] to a prepared query.

  Euclidean distance, or 1 - cosine, in float64.
  """
  rows, query = rows.astype(np.float64), query.astype(np.float64)
  distance = np.linalg.norm(rows - query, axis=1)
  if metric == "cosine":
    # Of unit vectors, without the loss of digits in 1 - cosine; for zeros 1.
    zero = ~rows.any(1) | ~query.any()
    return np.where(zero, 1.0, distance**2 / 2)
  return distance


class Database:
  """Vectors to search, in blocks; a single block stays on the device."""

  def __init__(
    self,
    vectors,
    metric: str,
    center: np.ndarray | None = None,
    block_bytes: int | None = None,
  ):
    """Takes vectors.

    Args:
      vectors: [N, D] float32, prepared; an array or anything else that has a
        `shape` and gives arrays when indexed.
      metric: "euclidean" or "cosine".
      center: [D], about the mean of the vectors; None: that of an array.
      block_bytes: Size of a block; None: by the size of the database. What is
        found does not depend on it.
    """
    self.metric = metric
    count, dimension = vectors.shape
    if block_bytes is None:
      small = 4 * count * dimension <= _KEPT_BYTES
      block_bytes = _KEPT_BYTES if small else _BLOCK_BYTES
    self._size = max(1, min(count, block_bytes // (4 * dimension)))
    self._kept = None
    if self._size == count:
      vectors = vectors[:]
    self._vectors = vectors
    self._center = vectors.mean(0) if center is None else center

  def __getitem__(self, rows) -> np.ndarray:
    return self._vectors[rows]

  def nearest(
    self, queries: np.ndarray, k: int, excluded: np.ndarray | None = None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Finds the nearest vectors of each query.

    Args:
      queries: [Q, D] float32, prepared.
      k: How many to find.
      excluded: [Q, E] rows not to find; -1 for none.

    Returns:
      Rows and distances, both [Q, k], nearest first, equal ones in the order of
      the rows; -1 and infinity where there are fewer than k.
    """
    if excluded is None:
      excluded = np.full((len(queries), 1), -1)
    wanted = min(k + _MARGIN, self._vectors.shape[0])
    candidates = []
    for first in range(0, len(queries), _QUERIES_PER_BLOCK):
      part = slice(first, first + _QUERIES_PER_BLOCK)
      asked = queries[part] - self._center
      best = jnp.full((len(asked), wanted), jnp.inf)
      rows = jnp.full((len(asked), wanted), -1)
      for start, filled, *block in self._blocks():
        best, rows = _search_block(
          best, rows, *block, start, filled, asked, excluded[part]
        )
        jax.block_until_ready(best)  # else blocks would queue up in memory
      candidates.extend(np.where(np.isinf(best), -1, rows))
    return self.rank(queries, candidates, k)

  def rank(
    self, queries: np.ndarray, candidates: Sequence[np.ndarray], k: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Orders candidates by their exact distance.

    Args:
      queries: [Q, D], prepared.
      candidates: Rows for each query; negative ones are none.
      k: How many to keep.

    Returns:
      What `nearest` returns.
    """
    rows = np.full((len(queries), k), -1)
    found = np.full((len(queries), k), np.inf)
    for i, (query, near) in enumerate(zip(queries, candidates, strict=True)):
      near = np.sort(near[near >= 0])
      exact = distances(self._vectors[near], query, self.metric)
      order = np.argsort(exact, kind="stable")[:k]
      rows[i, : len(order)] = near[order]
      found[i, : len(order)] = exact[order]
    return rows, found

  def _blocks(self) -> Iterator[tuple]:
    """Yields the first row, the number of rows, vectors and squares."""
    if self._kept is not None:
      yield self._kept
      return
    count, dimension = self._vectors.shape
    for start in range(0, count, self._size):
      block = self._vectors[start : start + self._size]
      filled = len(block)
      if filled < self._size:  # One shape, one compilation.
        padding = np.zeros((self._size - filled, dimension), np.float32)
        block = np.concatenate([block, padding])
      ready = start, filled, *_center_block(block, self._center, self.metric)
      if self._size == count:
        self._kept = ready
      yield ready


@functools.partial(jax.jit, static_argnames="metric")
def _center_block(block, center, metric):
  """Returns vectors [B, D] less the center, and the squares of that [B]."""
  x = block - center
  squares = (x * x).sum(-1)
  if metric == "cosine":
    # Unit vectors: |x - q|^2 = 2 (1 - cosine). Of zeros the cosine is 0.
    squares += (block == 0).all(-1)
  return x, squares


@jax.jit
def _search_block(best, rows, x, squares, start, filled, queries, excluded):
  """Joins the best so far, [Q, K] scores and rows, with a block's best."""
  size, wanted = len(x), best.shape[1]
  products = jnp.matmul(queries, x.T, precision=jax.lax.Precision.HIGHEST)
  scores = squares - 2.0 * products  # [Q, B], |x - q|^2 less |q|^2
  scores = jnp.where(jnp.arange(size) < filled, scores, jnp.inf)
  at = excluded - start
  at = jnp.where((at >= 0) & (excluded >= 0), at, size)  # or out of the block
  scores = jax.vmap(lambda s, i: s.at[i].set(jnp.inf, mode="drop"))(scores, at)
  negative, position = jax.lax.top_k(-scores, min(wanted, size))
  # Earlier rows first: top_k prefers them where scores are equal.
  best = jnp.concatenate([best, -negative], 1)
  rows = jnp.concatenate([rows, start + position], 1)
  negative, position = jax.lax.top_k(-best, wanted)
  return -negative, jnp.take_along_axis(rows, position, 1)
