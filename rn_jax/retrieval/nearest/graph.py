"""The approximate backend: a graph of near neighbours, by usearch.

    pip install 'rn_jax[retrieval]'

Candidates come from the graph; their distances are computed exactly. What is
found is what exact search finds but for a few images that the graph misses.
"""

from pathlib import Path

import numpy as np
import tqdm

# Vectors handed to usearch at a time.
_ROWS = 1 << 14


def write_graph(vectors, path: Path) -> None:
  """Makes the graph of vectors [N, D] (an array or Rows) and writes it."""
  graph = _usearch().Index(ndim=vectors.shape[1], metric="l2sq", dtype="f32")
  with tqdm.tqdm(
    total=len(vectors), desc="connecting", unit=" images", mininterval=1.0
  ) as progress:
    for start in range(0, len(vectors), _ROWS):
      block = vectors[start : start + _ROWS]
      graph.add(np.arange(start, start + len(block)), block)
      progress.update(len(block))
  graph.save(str(path))


def open_graph(path: Path):
  """Opens a graph that `write_graph` made, memory-mapped.

  Raises:
    OSError: It cannot be read.
    ValueError: usearch is not installed.
  """
  graph = _usearch().Index.restore(str(path), view=True)
  if graph is None:
    raise OSError(f"{path}: not a graph of usearch; make the index again")
  return graph


def candidates(graph, query: np.ndarray, count: int) -> np.ndarray:
  """Returns about `count` rows near a query [D]."""
  return graph.search(query, count).keys.astype(np.int64)


def _usearch():
  try:
    import usearch.index
  except ImportError as error:
    raise ValueError(
      "the backend usearch is not installed: pip install 'rn_jax[retrieval]'"
    ) from error
  return usearch.index
