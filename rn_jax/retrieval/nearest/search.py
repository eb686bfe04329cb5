"""Search for the nearest vectors, by FAISS.

FAISS chooses candidates by squared distances in float32, also for "cosine":
between vectors of unit length they order as the cosine does, and lose no digits
where it is nearly 1. The distances that are returned, and the order, are then
computed in float64 from the vectors as the index keeps them.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import faiss
import numpy as np

from rn_jax.retrieval.describe.features import METRICS

# Candidates beyond those wanted, among which float64 decides.
_MARGIN = 32
# Few enough that FAISS takes differences, not products, whose rounding would
# hide what differs between nearly equal vectors.
_QUERIES_AT_A_TIME = 256
_NO_MAP = 0  # faiss.DirectMap.NoMap
# Read from one index and added to another.
_VECTORS_AT_A_TIME = 65_536
# More than FAISS's relative error then.
_ROUNDING = 1e-4


def prepare(vectors: np.ndarray, metric: str) -> np.ndarray:
  """Returns vectors [N, D] as they are searched for and among, float32.

  For "cosine" they are scaled to unit length; zeros stay zeros.

  Raises:
    ValueError: They are no such array of finite numbers, or there is no such
      metric.
  """
  if metric not in METRICS:
    raise ValueError(f"metric is {metric!r}, not one of {', '.join(METRICS)}")
  vectors = np.asarray(vectors)
  if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
    raise ValueError(
      f"vectors are {vectors.dtype} {list(vectors.shape)}, not numbers [N, D]"
    )
  with np.errstate(over="ignore"):  # FAISS squares in float32
    length = np.linalg.norm(vectors.astype(np.float32), axis=1)
  if len(bad := np.flatnonzero(~np.isfinite(length))):
    raise ValueError(f"vector {bad[0]} is not finite in float32")
  if metric == "cosine":
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.maximum(norm, 1e-12)
  return np.ascontiguousarray(vectors, np.float32)


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


@contextlib.contextmanager
def faiss_errors(what: str) -> Iterator[None]:
  """Turns FAISS's errors into a ValueError that begins with `what`."""
  try:
    yield
  except (RuntimeError, MemoryError) as error:
    # Without the function, the line and the condition in FAISS's source.
    where = r"^Error in .+? at \S+:\d+: (Error: '.+?' failed: )?"
    reason = re.sub(where, "", str(error), flags=re.S)
    raise ValueError(f"{what}: {reason}") from error


def make_index(
  vectors: np.ndarray, factory: str = "Flat", parameters: str = ""
) -> faiss.Index:
  """Makes an index in memory, of all of its vectors.

  Args:
    vectors: [N, D], prepared. Kinds that need training are trained on them.
    factory: FAISS's name for the kind of index; "Flat" is exact.
    parameters: Of FAISS's search, as "nprobe=16"; kept in the index.

  Raises:
    ValueError: FAISS knows no such kind, or it needs more vectors.
  """
  return fill(train(vectors, factory, parameters), [vectors])


def train(
  sample: np.ndarray, factory: str, parameters: str = ""
) -> faiss.Index:
  """As `make_index`, but without vectors.

  Args:
    sample: [N, D], prepared, to train with.
    factory: See make_index.
    parameters: See make_index.
  """
  count, dimension = sample.shape
  with faiss_errors(
    f"no index {factory!r} of {count} vectors of {dimension} numbers"
  ):
    index = faiss.index_factory(dimension, factory)
    lists = faiss.try_extract_index_ivf(index)
    fast = lists and isinstance(
      faiss.downcast_index(lists), faiss.IndexIVFFastScan
    )
    if fast and not isinstance(index, faiss.IndexRefine):
      # FAISS 1.15 reads beyond its memory for them, once they come from a file.
      raise RuntimeError(
        "fast-scan codes behind IVF cannot be read again; leave out 'fs' or "
        "add ',RFlat'"
      )
    index.train(sample)
    if lists:
      # Else no vector can be read again.
      lists.make_direct_map()
    faiss.ParameterSpace().set_index_parameters(index, parameters)
  return index


def fill(index: faiss.Index, parts: Iterable[np.ndarray]) -> faiss.Index:
  """Adds vectors, that need not fit into memory together, to a trained index.

  Args:
    index: Is changed.
    parts: The vectors [n, D], prepared, in order.

  Raises:
    ValueError: FAISS cannot search such an index, or not read its vectors.
  """
  with faiss_errors(f"no index of this kind of {index.d} numbers"):
    for part in parts:
      index.add(part)
      index.search(part[:1], 1)  # What it cannot do it says at once.
    index.reconstruct_batch([0])
  return index


def append(index: Any, other: Any) -> None:
  """Adds the vectors of an index of FAISS, `other`, behind those of `index`.

  Both are in memory, not mapped; the other may be empty afterwards.

  Raises:
    RuntimeError: FAISS cannot add to it, or cannot read the other.
  """
  if _trained_alike(index, other):
    # FAISS moves lists only where no map leads into them.
    for lists in (index, other):
      lists.set_direct_map_type(_NO_MAP)
    index.merge_from(other, index.ntotal)
    index.make_direct_map()
    return
  for start in range(0, other.ntotal, _VECTORS_AT_A_TIME):
    count = min(_VECTORS_AT_A_TIME, other.ntotal - start)
    index.add(other.reconstruct_n(start, count))


def _trained_alike(index: Any, other: Any) -> bool:
  """Returns whether two are IVF by the same centers, with codes alike."""
  if type(index) is not type(other) or not isinstance(index, faiss.IndexIVF):
    return False
  same = [
    faiss.serialize_index(one.quantizer).tobytes() for one in (index, other)
  ]
  if isinstance(index, faiss.IndexIVFFlat):
    return same[0] == same[1]
  if isinstance(index, faiss.IndexIVFPQ):
    codes = [
      faiss.vector_to_array(one.pq.centroids).tobytes()
      for one in (index, other)
    ]
    return same[0] == same[1] and codes[0] == codes[1]
  return False


def nearest(
  index: faiss.Index,
  metric: str,
  queries: np.ndarray,
  k: int,
  excluded: Sequence[Sequence[int] | np.ndarray] | np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """Finds the nearest vectors of each query.

  With an exact index (FAISS's "Flat") the answer is that of brute force in
  float64. Others miss some vectors.

  Args:
    index: Of prepared vectors, by squared Euclidean distance.
    metric: "euclidean" or "cosine".
    queries: [Q, D], prepared.
    k: How many to find.
    excluded: Rows not to find, for each query.

  Returns:
    Rows and distances, both [Q, k], nearest first, equal ones in the order of
    the rows; -1 and infinity where fewer than k are found.
  """
  rows = np.full((len(queries), k), -1)
  found = np.full((len(queries), k), np.inf)
  excluded = [[]] * len(queries) if excluded is None else excluded
  most = max(map(len, excluded), default=0)
  count = min(k + most + _MARGIN, index.ntotal)
  for start in range(0, len(queries), _QUERIES_AT_A_TIME):
    part = np.arange(len(queries))[start : start + _QUERIES_AT_A_TIME]
    wanted = count
    while len(part):
      squared, candidates = index.search(queries[part], wanted)
      unsure = []
      triples = zip(part, candidates, squared[:, -1], strict=True)
      for i, near, farthest in triples:
        near = np.setdiff1d(near[near >= 0], excluded[i])  # sorts them, too
        exact = distances(index.reconstruct_batch(near), queries[i], metric)
        order = np.argsort(exact, kind="stable")[:k]
        rows[i, : len(order)] = near[order]
        found[i, : len(order)] = exact[order]
        # All others are at least so far away.
        bound = farthest / 2 if metric == "cosine" else farthest**0.5
        if found[i, -1] >= bound * (1 - _ROUNDING):
          unsure.append(i)
      # More equal vectors than the margin, say: look at more of them.
      is_exact = isinstance(index, faiss.IndexFlat)
      part = unsure if is_exact and wanted < index.ntotal else []
      wanted = min(8 * wanted, index.ntotal)
  return rows, found
