"""Searching an index: exact in blocks against numpy and a graph.

    python -m benchmarks.retrieval_search --images=15000
    python -m benchmarks.retrieval_search --images=1000000 --variants=exact

Random vectors around a few hundred centers, so that a graph has something to
follow; queries are vectors of the index and noise. "numpy" has all vectors in
memory and takes one matrix product and a partial sort; "exact" and "usearch"
are what rn_jax.retrieval.query runs, from the index on disk to the hits' names.
The memory is what the process had resident at most after the first search of
"exact", and before it. Small indices (up to 64 MiB) are kept in memory.
"""

import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks import timing
from rn_jax.retrieval.nearest.graph import write_graph
from rn_jax.retrieval.nearest.index_files import write_index
from rn_jax.retrieval.query import load_index

_CENTERS, _ROWS = 300, 1 << 14


def _vectors(start: int, count: int, dimension: int) -> np.ndarray:
  centers = np.random.default_rng(0).normal(size=(_CENTERS, dimension))
  rng = np.random.default_rng((1, start))
  x = centers[rng.integers(_CENTERS, size=count)]
  return (x + 0.5 * rng.normal(size=x.shape)).astype(np.float32)


def _build(folder: str, images: int, dimension: int, backend: str) -> None:
  starts = range(0, images, _ROWS)
  started = time.perf_counter()
  write_index(
    Path(folder),
    {
      "metric": "euclidean",
      "backend": backend,
      "descriptor": {"name": "x"},
      "network": None,
      "preprocessing": None,
      "sources": [{}],
    },
    (_vectors(s, min(_ROWS, images - s), dimension) for s in starts),
    np.arange(images),
    np.array([f"{i:07d}.png" for i in range(images)]),
    np.zeros(images, np.int64),
    write_graph=write_graph if backend == "usearch" else None,
  )
  seconds = time.perf_counter() - started
  print(f"{backend}: made in {seconds:.1f} s", flush=True)


def _resident_mib() -> float:
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(
  images: int, dimension: int, k: int, repeats: int, variants: list[str]
) -> None:
  """Prints the tables."""
  rng = np.random.default_rng(2)
  with tempfile.TemporaryDirectory() as root:
    indices = {}
    for backend in ("exact", "usearch"):
      if backend not in variants:
        continue
      folder = os.path.join(root, backend)
      # In a process of its own, whose memory is not counted here.
      arguments = (folder, images, dimension, backend)
      process = multiprocessing.get_context("spawn").Process(
        target=_build, args=arguments
      )
      process.start()
      process.join()
      if process.exitcode:
        raise SystemExit(f"error: making the index failed: {backend}")
      indices[backend] = folder
    queries = _vectors(0, min(_ROWS, images), dimension)[:100]
    queries = queries + 0.1 * rng.normal(size=queries.shape)
    queries = queries.astype(np.float32)
    before = _resident_mib()
    loaded = {name: load_index(folder) for name, folder in indices.items()}
    if "exact" in loaded:
      for count in (1, len(queries)):
        loaded["exact"].search(queries[:count], k)
      print(
        f"exact: {_resident_mib():,.0f} MiB resident at most, {before:,.0f} "
        f"before; the vectors have {4 * images * dimension / 2**20:,.0f}"
      )
    calls = {}
    if "numpy" in variants:
      x = np.concatenate(
        [
          _vectors(s, min(_ROWS, images - s), dimension)
          for s in range(0, images, _ROWS)
        ]
      )
      squares = (x * x).sum(1)
      calls["numpy"] = lambda q: _numpy(x, squares, q, k)
    for name, index in loaded.items():
      calls[name] = lambda q, index=index: [
        [hit.image_index for hit in hits] for hits in index.search(q, k)
      ]
    rows = []
    for count in (1, len(queries)):
      found = {name: call(queries[:count]) for name, call in calls.items()}
      seconds = timing.measure(
        {
          name: lambda call=call, count=count: call(queries[:count])
          for name, call in calls.items()
        },
        repeats,
        f"{count} queries",
      )
      first = next(iter(found.values()))
      for name, (ms, rate, ratio) in timing.speeds(seconds, count).items():
        same = [
          len(set(a) & set(b)) / k
          for a, b in zip(first, found[name], strict=True)
        ]
        rows.append((name, count, ms, rate, ratio, float(np.mean(same))))
    header = ("variant", "queries", "ms", "queries/s", "times as fast")
    timing.print_table((*header, "same as first"), rows)


def _numpy(x, squares, queries, k) -> list[list[int]]:
  scores = squares - 2 * queries @ x.T
  near = np.argpartition(scores, k, axis=1)[:, :k]
  order = np.argsort(np.take_along_axis(scores, near, 1), axis=1)
  return np.take_along_axis(near, order, 1).tolist()


if __name__ == "__main__":
  _HOLDERS = [
    flags.DEFINE_integer("images", 15_000, "Vectors in the index."),
    flags.DEFINE_integer("dimension", 512, "Numbers in a vector."),
    flags.DEFINE_integer("k", 10, "Images to find."),
    flags.DEFINE_integer("repeats", 5, "Rounds."),
    flags.DEFINE_list("variants", ["numpy", "exact", "usearch"], "Which."),
  ]
  timing.main(run, _HOLDERS)
