r"""How the cost of every stage grows with the number of scenes.

    OMP_NUM_THREADS=1 python -m benchmarks.growth

From generating scenes to searching an index, each over three decades, in
seconds of the processor with one process, which hardly depend on what else the
machine does. Before, each stage runs once at its smallest size, to compile. The
time of the smallest size is start-up and is subtracted from the others; the
exponent is the slope of the logarithms by least squares over the upper two
decades. "off" is the largest deviation of a time from the fitted power. A
size's time is the median of three runs where one takes less than a second.

Scenes obey the visibility rule and have ten questions; pictures are drawn and
kept at 32x32; descriptors are those of pretrained/original_sd, for as many
scenes at a time as the smallest size has; ground truth is of 20 queries to all
scenes by v2. Vectors are those of relation_vectors.py, of 64 numbers; 100
queries are asked in one call, of an index that is open. IVF has 4 times the
root of the number of vectors as lists, codes of 16 times 4 bits, and searches
16 lists.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import ml_collections
import numpy as np
from absl import flags

from benchmarks import timing
from benchmarks.relation_vectors import relation_vectors
from data_prep.convert_clevr import convert
from data_prep.generate import generate
from data_prep.generation.job import Job
from data_prep.generation.scenes import sample_scene
from rn_jax.retrieval.describe.extractor import Extractor, load_extractor
from rn_jax.retrieval.describe.features import Features
from rn_jax.retrieval.describe.sources import split_source
from rn_jax.retrieval.extract import extract
from rn_jax.retrieval.ground_truth import compute
from rn_jax.retrieval.index import build_index
from rn_jax.retrieval.query import load_index
from rn_jax.retrieval.scene_graphs.scene_graph import scene_graphs

_SIDE, _DIMENSION, _QUERIES = 32, 64, 100
_CHECKPOINT = Path(__file__).parent.parent / "pretrained" / "original_sd"
_FACTORIES = {"Flat": "", "HNSW32": "efSearch=64", "IVF,PQ": "nprobe=16"}


def fit(
  sizes: Sequence[float], seconds: Sequence[float]
) -> tuple[float, float]:
  """Fits a power to what sizes take beyond the first one, the least.

  Args:
    sizes: In order; from ten times the first one on they count.
    seconds: The time at each size.

  Returns:
    The exponent, and the largest relative deviation of a time from the fit.
  """
  n, t = np.asarray(sizes, float), np.asarray(seconds, float)
  kept = (n >= 10 * n[0] * (1 - 1e-9)) & (t > t[0])
  n, t = np.log((n - n[0])[kept]), np.log((t - t[0])[kept])
  slope, offset = np.polyfit(n, t, 1)
  off = np.exp(np.abs(t - offset - slope * n)).max() - 1
  return float(slope), float(off)


def sizes_from(least: int, decades: int = 3) -> list[int]:
  """Returns sizes over some decades, two in each."""
  return [round(least * 10 ** (half / 2)) for half in range(1 + 2 * decades)]


def run(scenes: int, vectors: int, decades: int = 3) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  times = {}
  extractor = load_extractor(
    _CHECKPOINT, overrides={"eval.batch_size": max(1, scenes)}
  )
  with tempfile.TemporaryDirectory() as root:
    for number, size in enumerate(_with_warm_up(scenes, decades)):
      folder = Path(root, str(number))
      for stage, seconds in _data_stages(size, folder, extractor).items():
        times.setdefault(stage, []).append((size, seconds))
    for number, size in enumerate(_with_warm_up(vectors, decades)):
      folder = Path(root, f"index_{number}")
      for stage, seconds in _search_stages(size, folder).items():
        times.setdefault(stage, []).append((size, seconds))
  rows = []
  for stage, points in times.items():
    sizes, seconds = zip(*points[1:], strict=True)
    exponent, off = fit(sizes, seconds)
    more = (seconds[-1] - seconds[0]) / (sizes[-1] - sizes[0])
    span = f"{sizes[0]:,} to {sizes[-1]:,}"
    ends = seconds[0], seconds[-1]
    rows.append((stage, span, *ends, 1e3 * more, exponent, 100 * off))
  header = (
    *("stage", "sizes", "s at the least", "s at the most", "ms for one more"),
    *("exponent", "off %"),
  )
  timing.print_table(header, rows)
  return rows


def _with_warm_up(least: int, decades: int) -> list[int]:
  return [least, *sizes_from(least, decades)]


def _clock(call: Callable[[int], object], runs: int = 3) -> float:
  """Returns seconds of the processor; `call` gets the number of the run."""
  samples = []
  while len(samples) < runs and not (samples and samples[0] > 1):
    started = time.process_time()
    call(len(samples))
    samples.append(time.process_time() - started)
  return statistics.median(samples)


def _data_stages(
  scenes: int, folder: Path, extractor: Extractor
) -> dict[str, float]:
  job = Job("val", scenes)
  size = (_SIDE, _SIDE)

  def made(i: int) -> Path:
    return folder / f"clevr_{i}"

  def records(i: int) -> Path:
    return folder / f"records_{i}"

  data = ml_collections.ConfigDict(extractor.config.data)
  data.dir = str(records(0))

  def described(i: int) -> None:
    source = split_source(data, "states", "val")
    extract(extractor, source, folder / f"features_{i}.npz")

  graphs = scene_graphs(sample_scene(0, "val", i) for i in range(scenes))
  calls = {
    "scenes and questions": lambda i: generate(made(i), job, workers=1),
    "pictures": lambda i: generate(
      made(0), job, images=True, size=size, workers=1
    ),
    "records": lambda i: convert(
      made(0), records(i), vocabulary="clevr", image_size=_SIDE, workers=1
    ),
    "descriptors": described,
    "ground truth": lambda i: compute(
      graphs,
      folder / f"truth_{i}.npz",
      queries=graphs.image_index[:20],
      workers=1,
    ),
  }
  # Pictures are drawn once, into the folder that the others read.
  return {
    stage: _clock(call, 1 if stage == "pictures" else 3)
    for stage, call in calls.items()
  }


def _search_stages(vectors: int, folder: Path) -> dict[str, float]:
  x = relation_vectors(vectors, _DIMENSION, seed=0)
  names = np.array([f"{i:08d}.png" for i in range(vectors)])
  features = Features({"x": x}, np.arange(vectors), names, {})
  queries = relation_vectors(_QUERIES, _DIMENSION, seed=1)
  lists = round(4 * vectors**0.5)
  found = {}
  for kind, search in _FACTORIES.items():
    factory = kind.replace("IVF,PQ", f"IVF{lists},PQ16x4np")

    def make(i: int, factory=factory, search=search) -> None:
      path = folder / f"{factory}_{i}"
      build_index(features, "x", path, factory=factory, search=search)

    found[f"index {kind}"] = _clock(make)
    index = load_index(folder / f"{factory}_0")
    found[f"query {kind}"] = _clock(
      lambda i, index=index: index.search(queries, 10)
    )
  return found


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_integer("scenes", 2, "Least number of scenes."),
      flags.DEFINE_integer("vectors", 100, "Least number of vectors."),
    ],
  )
