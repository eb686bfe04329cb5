r"""Search in databases of a thousand to ten million images.

    OMP_WAIT_POLICY=passive python -m benchmarks.search_scale \
        --workdir=W --plot=docs/search_scale.svg

Of synthetic vectors (see relation_vectors.py) or, with --features=FILE, of a
file's first descriptor, of which 100 are asked for and the rest is searched.
Queries are 100 scenes that the database does not hold, in one call, from the
mapped index to the hits' names; times are medians of at least three calls.
"recall" is how many of the 10 nearest by brute force are found; "bytes" are
those of the file of vectors for each image. Seconds of the processor are those
of all threads, so that other programs on the machine change little; queries/s
are by the clock. The same command again goes on after the last kind of index in
W/rows.jsonl. Where others use the machine, OMP_NUM_THREADS=1 keeps threads from
waiting for each other.

More than a million vectors are made in files of a million, of which one is in
memory at a time, and only compressed.
"""

import functools
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import faiss
import numpy as np
from absl import flags

from benchmarks import timing
from benchmarks.relation_vectors import brute_force, relation_vectors
from benchmarks.search_plot import draw
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.retrieval.describe.features import (
  Features,
  load_features,
  save_features,
)
from rn_jax.retrieval.index import build_index
from rn_jax.retrieval.nearest.search import prepare
from rn_jax.retrieval.query import LoadedIndex, load_index

_QUERIES, _K, _SHARD = 100, 10, 1_000_000
_LONG_ENOUGH = 2.0  # seconds by the clock, for the calls of one median
_COLUMNS = {
  "images": "images",
  "index": "index",
  "search": "search",
  "made": "made, CPU s",
  "bytes": "bytes",
  "cpu_ms": "CPU ms a query",
  "rate": "queries/s",
  "recall": "recall@10",
}


def kinds(
  images: int, most_lists: int, most_in_graph: int
) -> dict[str, list[str]]:
  """Returns kinds of index, with parameters to search them with."""
  lists = min(2 ** round(np.log2(4 * images**0.5)), most_lists)
  probes = ["nprobe=16", "nprobe=64"]
  packed = {f"IVF{lists},PQ64np": probes}
  if images > _SHARD:
    return packed
  graph = {}
  if images <= most_in_graph:
    graph = {"HNSW32": ["efSearch=64", "efSearch=256"]}
  return {"Flat": [""], f"IVF{lists},Flat": probes} | packed | graph


def run(
  images: Sequence[str],
  dimension: int,
  workdir: str,
  features: str | None,
  plot: str,
  most_lists: int = 4096,
  most_in_graph: int = _SHARD,
) -> list[dict]:
  """Prints a table and returns its rows; see the flags below.

  Raises:
    ValueError: There are too few vectors, or no such number can be made.
  """
  folder = Path(workdir)
  folder.mkdir(parents=True, exist_ok=True)
  rows = []
  for count in [None] if features else map(int, images):
    if features:
      real, queries = _real(load_features(features))
      make = functools.partial(lambda made: made, real)
      count, name = len(real), Path(features).name
    else:
      make = functools.partial(_synthetic, count, dimension, folder)
      queries, name = relation_vectors(_QUERIES, dimension, seed=1), ""
    tried = kinds(count, most_lists, most_in_graph)
    rows += _size(make, queries, count, name, folder, tried)
  timing.print_table(
    [*_COLUMNS.values()], [[row[c] for c in _COLUMNS] for row in rows]
  )
  for count, row in {row["images"]: row for row in rows}.items():
    print(f"{count:,}: the 10th nearest at {row['near']:.3f} of the mean")
  if plot:
    draw(plot, rows)
  return rows


def _real(features: Features) -> tuple[Features, np.ndarray]:
  """Returns the first descriptor of all images but the first 100, and those."""
  name, x = next(iter(features.descriptors.items()))
  x = prepare(x, features.about(name).get("metric", "euclidean"))
  if len(x) <= 2 * _QUERIES:
    raise ValueError(f"{len(x)} vectors are too few; give more than 200")
  return _database(x[_QUERIES:], 0), x[:_QUERIES]


def _database(x: np.ndarray, start: int) -> Features:
  """Returns vectors as features whose images are numbered from `start`."""
  numbers = np.arange(start, start + len(x))
  names = np.array([f"{i:08d}.png" for i in numbers.tolist()])
  return Features({"x": x}, numbers, names, {})


def _synthetic(
  count: int, dimension: int, folder: Path
) -> Features | list[Path]:
  """Returns the first scenes' vectors, or the files of them."""
  if count > _SHARD and count % _SHARD:
    raise ValueError(f"{count} is more than a million and no multiple of it")
  paths = []
  for start in range(0, count, _SHARD):
    path = folder / f"vectors_{dimension}_{start}.npz"
    size = min(count, _SHARD)
    if not path.exists() or (start == 0 and len(load_features(path)) < size):
      x = relation_vectors(size, dimension, seed=0, start=start)
      save_features(path, _database(x, start))
    paths.append(path)
  if count > _SHARD:
    return paths
  return _database(load_features(paths[0]).descriptors["x"][:count], 0)


def _size(
  make: Callable,
  queries,
  count: int,
  name: str,
  folder: Path,
  tried: dict[str, list[str]],
) -> list[dict]:
  """Returns the rows of one database; those on the disk are not measured."""
  path = folder / "rows.jsonl"
  known = path.read_text().splitlines() if path.exists() else []
  there = {
    tuple(row[key] for key in ("name", "dimension", "images", "index")): row
    for row in map(json.loads, known)
  }
  dimension = queries.shape[1]
  made = truth = None
  rows = []
  for factory, searches in tried.items():
    key = (name, dimension, count, factory)
    if key not in there:
      if truth is None:
        made = make()
        exact, distance, mean = brute_force(_parts(made), queries, _K)
        truth = exact.tolist(), float(distance[:, -1].mean() / mean)
      measured = _measure(made, factory, searches, queries, truth[0], folder)
      there[key] = {
        **dict(zip(("name", "dimension", "images", "index"), key, strict=True)),
        "near": truth[1],
        "measured": measured,
      }
      with replacing(path) as temporary:
        lines = (json.dumps(row) for row in there.values())
        temporary.write_text("".join(line + "\n" for line in lines))
    row = there[key]
    for part in row["measured"]:
      rows.append({**row, **part})
      print(*(rows[-1][column] for column in _COLUMNS), sep="  ", flush=True)
  return rows


def _parts(made: Features | list[Path]) -> Iterator[np.ndarray]:
  if isinstance(made, Features):
    yield made.descriptors["x"]
  else:
    for path in made:
      yield load_features(path).descriptors["x"]


def _measure(made, factory, searches, queries, truth, folder) -> list[dict]:
  """Makes an index, and returns what each way to search it gives."""
  path = folder / "index"
  started = time.process_time()
  build_index(made, "x", path, factory=factory, overwrite=True)
  seconds = time.process_time() - started
  index = load_index(path)
  size = sum(file.stat().st_size for file in path.glob("*.faiss"))
  rows = []
  for search in searches:
    faiss.ParameterSpace().set_index_parameters(index.files.vectors, search)
    hits = index.search(queries, _K)  # maps the pages, too
    found = [{hit.image_index for hit in some} for some in hits]
    recall = [
      len(some & set(exact)) / _K
      for some, exact in zip(found, truth, strict=True)
    ]
    cpu, clock = _times(index, queries)
    rows.append(
      {
        "search": search,
        "made": seconds,
        "bytes": size / len(index.files),
        "cpu_ms": 1e3 * cpu / len(queries),
        "rate": len(queries) / clock,
        "recall": statistics.mean(recall),
      }
    )
  shutil.rmtree(path)
  return rows


def _times(index: LoadedIndex, queries: np.ndarray) -> tuple[float, float]:
  """Returns seconds of the processor and by the clock, of the median calls."""
  samples = []
  while len(samples) < 3 or sum(clock for _, clock in samples) < _LONG_ENOUGH:
    before = time.process_time(), time.perf_counter()
    index.search(queries, _K)
    after = time.process_time(), time.perf_counter()
    samples.append([b - a for a, b in zip(before, after, strict=True)])
  cpu, clock = (statistics.median(x) for x in zip(*samples, strict=True))
  return cpu, clock


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_list(
        "images",
        ["1000", "10000", "100000", "1000000", "10000000"],
        "Sizes of the databases.",
      ),
      flags.DEFINE_integer("dimension", 256, "Numbers; a multiple of 64."),
      flags.DEFINE_integer(
        "most_lists", 4096, "IVF has 4 times the root of the size, up to these."
      ),
      flags.DEFINE_integer(
        "most_in_graph", _SHARD, "Largest database to make HNSW of."
      ),
      cli.path_flag("workdir", "/tmp/search_scale", "Folder of what is kept."),
      cli.path_flag("features", None, "Features file to take vectors of."),
      cli.path_flag("plot", "", "File for a plot, .svg or .png."),
    ],
  )
