"""Exact search for the nearest vectors, in blocks that bound the memory.

A block of the database at a time is multiplied with all queries on the device.
Descriptors of similar images are nearly equal, so squared distances are taken
from the database's mean, where float32 is fine enough to choose candidates;
their distances are then computed in float64, which also decides the order.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

METRICS = ("euclidean", "cosine")
# Of one block. The search needs about four times as much.
BLOCK_BYTES = 1 << 26
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


def nearest(
  vectors,
  queries: np.ndarray,
  k: int,
  *,
  metric: str,
  center: np.ndarray,
  excluded: np.ndarray | None = None,
  block_bytes: int = BLOCK_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
  """Finds the nearest vectors of each query.

  Args:
    vectors: [N, D] float32, prepared; an array or anything else that has a
      `shape` and gives arrays when indexed.
    queries: [Q, D] float32, prepared.
    k: How many to find.
    metric: "euclidean" or "cosine".
    center: [D], about the mean of the vectors.
    excluded: [Q, E] rows not to find; -1 for none.
    block_bytes: Size of a block. The result does not depend on it.

  Returns:
    Rows and distances, both [Q, k], nearest first, equal ones in the order of
    the rows; -1 and infinity where there are fewer than k.
  """
  count, dimension = vectors.shape
  if excluded is None:
    excluded = np.full((len(queries), 1), -1)
  wanted = min(k + _MARGIN, count)
  size = min(count, max(wanted, block_bytes // (4 * dimension)))

  def candidates(queries, excluded):
    best = jnp.full((len(queries), wanted), jnp.inf)
    rows = jnp.full((len(queries), wanted), -1)
    for start in range(0, count, size):
      block = np.asarray(vectors[start : start + size], np.float32)
      filled = len(block)
      if filled < size:  # One shape, one compilation.
        block = np.concatenate(
          [block, np.zeros((size - filled, dimension), np.float32)]
        )
      best, rows = _search_block(
        best, rows, block, start, filled, queries, center, excluded, metric
      )
    return np.where(np.isinf(best), -1, rows)

  found = []
  for start in range(0, len(queries), _QUERIES_PER_BLOCK):
    part = slice(start, start + _QUERIES_PER_BLOCK)
    found.extend(candidates(queries[part], excluded[part]))
  return rank(vectors, queries, found, k, metric)


@functools.partial(jax.jit, static_argnames="metric")
def _search_block(
  best, rows, block, start, filled, queries, center, excluded, metric
):
  """Joins the best so far, [Q, K] scores and rows, with a block's best."""
  size, wanted = len(block), best.shape[1]
  x = block - center
  squares = (x * x).sum(-1)
  if metric == "cosine":
    # Unit vectors: |x - q|^2 = 2 (1 - cosine). Of zeros the cosine is 0.
    squares += (block == 0).all(-1)
  products = jnp.matmul(
    queries - center, x.T, precision=jax.lax.Precision.HIGHEST
  )
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


def rank(
  vectors, queries: np.ndarray, candidates, k: int, metric: str
) -> tuple[np.ndarray, np.ndarray]:
  """Orders candidates by their exact distance.

  Args:
    vectors: See `nearest`.
    queries: [Q, D], prepared.
    candidates: Rows for each query; negative ones are none.
    k: How many to keep.
    metric: See `nearest`.

  Returns:
    What `nearest` returns.
  """
  rows = np.full((len(queries), k), -1)
  found = np.full((len(queries), k), np.inf)
  for i, (query, near) in enumerate(zip(queries, candidates, strict=True)):
    near = np.sort(near[near >= 0])
    exact = distances(vectors[near], query, metric)
    order = np.argsort(exact, kind="stable")[:k]
    rows[i, : len(order)] = near[order]
    found[i, : len(order)] = exact[order]
  return rows, found
