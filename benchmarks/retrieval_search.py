r"""Searching an index: FAISS's kinds of index against brute force by NumPy.

    python -m benchmarks.retrieval_search --images=15000
    python -m benchmarks.retrieval_search --images=100000 \
        --variants="Flat" --variants="IVF256,Flat nprobe=16"

Random vectors around a few hundred centers, so that IVF and graphs have
something to follow; queries are vectors of the index and noise. "NumPy" has all
vectors in memory and takes one matrix product and a partial sort. The others
are what rn_jax.retrieval.query runs, from the index on disk to the hits' names.
Recall is how many of the k nearest are found.
"""

import os
import tempfile
import time

import numpy as np
from absl import flags

from benchmarks import timing
from rn_jax.retrieval.describe.features import Features
from rn_jax.retrieval.index import build_index
from rn_jax.retrieval.query import load_index

_VARIANTS = ("Flat", "IVF128,Flat nprobe=8", "HNSW32 efSearch=64")
_CENTERS, _QUERIES = 300, 100


def run(
  images: int, dimension: int, k: int, repeats: int, variants: list[str]
) -> list[tuple]:
  """Prints a table and returns its rows.

  Args:
    images: N.
    dimension: D.
    k: Images to find.
    repeats: Rounds.
    variants: FAISS's name for a kind of index and, after a space, parameters.
  """
  rng = np.random.default_rng(0)
  centers = rng.normal(size=(_CENTERS, dimension)).astype(np.float32)
  x = centers[rng.integers(_CENTERS, size=images)]
  x += 0.5 * rng.standard_normal(x.shape, np.float32)
  queries = x[rng.integers(images, size=_QUERIES)]
  queries += 0.1 * rng.standard_normal(queries.shape, np.float32)
  squares = (x * x).sum(1)
  calls = {"NumPy": lambda queries: _numpy(x, squares, queries, k)}
  names = np.array([f"{i:07d}.png" for i in range(images)])
  features = Features({"x": x}, np.arange(images), names, {})
  rows = []
  with tempfile.TemporaryDirectory() as root:
    for variant in variants:
      factory, _, search = variant.partition(" ")
      folder = os.path.join(root, variant)
      started = time.perf_counter()
      build_index(features, "x", folder, factory=factory, search=search)
      made = time.perf_counter()
      index = load_index(folder)
      opened = time.perf_counter() - made
      print(
        f"{variant}: made in {made - started:.1f} s, opened in {opened:.2f} s",
        flush=True,
      )
      calls[variant] = lambda queries, index=index: [
        [hit.image_index for hit in hits] for hits in index.search(queries, k)
      ]
    for count in (1, _QUERIES):
      asked = queries[:count]
      found = {name: call(asked) for name, call in calls.items()}
      seconds = timing.measure(
        {
          name: lambda call=call, asked=asked: call(asked)
          for name, call in calls.items()
        },
        repeats,
        f"{count} queries",
      )
      for name, (ms, rate, ratio) in timing.speeds(seconds, count).items():
        recall = np.mean(
          [
            len(set(a) & set(b)) / k
            for a, b in zip(found["NumPy"], found[name], strict=True)
          ]
        )
        rows.append((name, count, ms, rate, ratio, float(recall)))
  header = ("variant", "queries", "ms", "queries/s", "times as fast", "recall")
  timing.print_table(header, rows)
  return rows


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
    flags.DEFINE_multi_string(
      "variants",
      list(_VARIANTS),
      "Kind of index, parameters; may be given several times.",
    ),
  ]
  timing.main(run, _HOLDERS)
