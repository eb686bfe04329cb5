r"""Search in databases of a thousand to a million images.

    python -m benchmarks.search_scale --plot=docs/search_scale.svg

Synthetic relation vectors: scenes of 3 to 10 random objects, 25 random pairs of
each, a layer of random weights and a ReLU for each pair, and the mean over the
pairs at unit length, as descriptors of the kind `g1_avg` are made. Queries are
scenes that the database does not hold. "recall" is how many of the 10 nearest
by brute force are found; bytes are those of the vectors' file; queries/s are of
100 queries in one call, from the index on disk to the hits' names.
"""

import os
import tempfile
import time
from collections.abc import Sequence

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from benchmarks import timing
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.retrieval.describe.features import Features
from rn_jax.retrieval.index import build_index
from rn_jax.retrieval.query import load_index

_QUERIES, _K, _PAIRS, _SCENES_AT_A_TIME = 100, 10, 25, 10_000
# Of an object: its place, and one of each attribute's values.
_ATTRIBUTES = (2, 2, 3, 8)


def relation_vectors(count: int, dimension: int, seed: int) -> np.ndarray:
  """Returns vectors [count, dimension] float32 of random scenes.

  The layer is the same for all seeds.
  """
  layer = np.random.default_rng(0)
  width = 3 + sum(_ATTRIBUTES)
  kernels = layer.normal(size=(2, width, dimension)).astype(np.float32)
  bias = layer.normal(size=dimension).astype(np.float32)
  rng = np.random.default_rng((1, seed))
  out = np.empty((count, dimension), np.float32)
  for start in range(0, count, _SCENES_AT_A_TIME):
    part = out[start : start + _SCENES_AT_A_TIME]
    scenes = len(part)
    objects = [rng.uniform(-1, 1, (scenes, 10, 3))]
    for values in _ATTRIBUTES:
      objects.append(np.eye(values)[rng.integers(values, size=(scenes, 10))])
    objects = np.concatenate(objects, 2).astype(np.float32)  # [S, 10, width]
    first, second = (objects @ kernel for kernel in kernels)
    number = rng.integers(3, 11, scenes)
    rows = np.arange(scenes)
    part[:] = 0
    for _ in range(_PAIRS):
      a, b = (rng.integers(number) for _ in range(2))
      part += np.maximum(first[rows, a] + second[rows, b] + bias, 0)
    part /= np.linalg.norm(part, axis=1, keepdims=True)
  return out


def variants(images: int) -> list[tuple[str, str]]:
  """Returns kinds of index and search parameters that suit so many images."""
  lists = int(2 ** np.clip(np.round(np.log2(4 * images**0.5)), 4, 12))
  return [
    ("Flat", ""),
    ("HNSW32", "efSearch=64"),
    (f"IVF{lists},Flat", "nprobe=16"),
    (f"IVF{lists},PQ64", "nprobe=16"),
  ]


def run(images: Sequence[str], dimension: int, plot: str) -> list[tuple]:
  """Prints a table and returns its rows.

  Args:
    images: Sizes of the databases.
    dimension: Numbers in a vector; a multiple of 64.
    plot: File for a plot; "": none.
  """
  rows = []
  queries = relation_vectors(_QUERIES, dimension, seed=1)
  for count in map(int, images):
    x = relation_vectors(count, dimension, seed=0)
    truth = _brute_force(x, queries)
    names = np.array([f"{i:08d}.png" for i in range(count)])
    features = Features({"x": x}, np.arange(count), names, {})
    for factory, search in variants(count):
      row = _measure(features, factory, search, queries, truth)
      print(*row, sep="  ", flush=True)
      rows.append((count, *row))
  header = (
    "images",
    "index",
    "made s",
    "bytes an image",
    "queries/s",
    "recall",
  )
  timing.print_table(header, rows)
  if plot:
    draw(plot, rows)
  return rows


def _measure(features, factory, search, queries, truth) -> tuple:
  with tempfile.TemporaryDirectory() as root:
    folder = os.path.join(root, "index")
    started = time.perf_counter()
    build_index(features, "x", folder, factory=factory, search=search)
    made = time.perf_counter() - started
    size = sum(
      os.path.getsize(file)
      for file in os.scandir(folder)
      if file.name.endswith(".faiss")
    )
    index = load_index(folder)
    hits = index.search(queries, _K)  # maps the pages, too
    seconds = []
    while sum(seconds) < 2 or len(seconds) < 3:
      started = time.perf_counter()
      index.search(queries, _K)
      seconds.append(time.perf_counter() - started)
  recall = np.mean(
    [
      len({hit.image_index for hit in found} & set(exact)) / _K
      for found, exact in zip(hits, truth.tolist(), strict=True)
    ]
  )
  rate = len(queries) / float(np.median(seconds))
  return (
    f"{factory} {search}".strip(),
    made,
    size / len(features),
    rate,
    float(recall),
  )


def _brute_force(x: np.ndarray, queries: np.ndarray) -> np.ndarray:
  """Returns the rows of the nearest, [Q, K], in float64."""
  best, rows = [], []
  for start in range(0, len(x), _SCENES_AT_A_TIME):
    part = x[start : start + _SCENES_AT_A_TIME].astype(np.float64)
    squared = (part**2).sum(1) - 2 * queries.astype(np.float64) @ part.T
    near = np.argsort(squared, 1)[:, :_K]
    best.append(np.take_along_axis(squared, near, 1))
    rows.append(near + start)
  best, rows = (np.concatenate(parts, 1) for parts in (best, rows))
  return np.take_along_axis(rows, np.argsort(best, 1)[:, :_K], 1)


def draw(path: str, rows: Sequence[tuple]) -> None:
  """Draws the table: bytes, speed and recall over the number of images."""
  figure = Figure(figsize=(9, 3), layout="constrained")
  panels = figure.subplots(1, 3)
  kinds = {}
  for count, index, _, size, rate, recall in rows:
    kind = "".join(c for c in index.split(" ")[0] if not c.isdigit())
    kinds.setdefault(kind, []).append((count, size, rate, recall))
  for kind, points in kinds.items():
    count, *columns = zip(*points, strict=True)
    for panel, values in zip(panels, columns, strict=True):
      panel.plot(count, values, marker="o", label=kind)
  labels = ("bytes an image", "queries/s", "recall@10")
  for panel, label in zip(panels, labels, strict=True):
    panel.set(xscale="log", xlabel="images", title=label)
    panel.grid(alpha=0.3)
  for panel in panels[:2]:
    panel.set_yscale("log")
  panels[2].set_ylim(0, 1.05)
  panels[2].legend(fontsize=8)
  with replacing(path) as temporary:
    figure.savefig(temporary, format=os.path.splitext(path)[1][1:])


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_list(
        "images", ["1000", "10000", "100000", "1000000"], "Sizes of databases."
      ),
      flags.DEFINE_integer("dimension", 256, "Numbers in a vector."),
      cli.path_flag("plot", "", "File for a plot, .svg or .png."),
    ],
  )
