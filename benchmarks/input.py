"""Input: how fast a split is decoded, opened again, and brought to the steps.

    python -m benchmarks.input [--scenes=70000] [--inputs=states,pixels] ...

Works in a temporary folder, on records that repeat a shard of generated scenes
of all templates as often as `--scenes` wants; images are smooth, with a faint
noise, and make PNG files of about the size of CLEVR's. The steps of the last
table gather their batch and do nothing with it, so that all their time is the
input's. Memory is that of the process without the pages of mapped files.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import flags
from PIL import Image

from benchmarks import timing
from benchmarks.memory import status_kb
from configs import common
from data_prep.convert_clevr import convert
from data_prep.generate import generate
from data_prep.generation.job import Job
from rn_jax import parallel
from rn_jax.data import input_pipeline, records
from rn_jax.data.dataset import load_dataset
from rn_jax.data.train_order import TrainOrder

_DISTINCT = 256  # scenes of the shard


def make_records(folder: Path, scenes: int) -> None:
  """Writes records of `scenes` scenes, rounded up to whole shards."""
  clevr = generate(folder / "clevr", Job("train", min(_DISTINCT, scenes)))
  images = clevr / "images" / "train"
  images.mkdir(parents=True)
  rng = np.random.default_rng(0)
  ramp = np.linspace(90, 140, 128)[None, :, None] * np.ones((128, 1, 3))
  count = min(_DISTINCT, scenes)
  for index in range(count):
    noisy = ramp + rng.normal(0, 2.0, (128, 128, 1))
    path = images / f"CLEVR_train_{index:06d}.png"
    Image.fromarray(noisy.astype(np.uint8)).save(path)
  convert(clevr, folder, splits=("train",), num_shards=1)
  path = folder / records.MANIFEST
  manifest = json.loads(path.read_text())
  entry = manifest["splits"]["train"]
  repeats = -(-scenes // count)
  entry["shards"] *= repeats
  for name in ("num_scenes", "num_questions"):
    entry[name] *= repeats
  path.write_text(json.dumps(manifest))


def memory() -> float:
  """Returns the MB that the process has in memory, mapped files left out."""
  return status_kb("RssAnon") / 1e3


def array_bytes(dataset) -> int:
  """Returns the size of all arrays of a split."""
  arrays = [*dataset.scenes.values(), *dataset.questions.values()]
  arrays += [dataset.family, dataset.image_filename]
  return sum(array.nbytes for array in arrays)


def read_shards(config) -> int:
  """Reads a split's shards, checksums and all; returns their bytes."""
  paths = records.shard_paths(config.dir, "train")
  return sum(len(x) for path in paths for x in records.read_shard(path))


def measure_reading(config, inputs: str) -> list[tuple]:
  """Returns rows of a way of reading, seconds, CPU seconds, rates, memory."""
  rows = []

  def measure(what, read, size=None):
    before, cpu, started = memory(), time.process_time(), time.perf_counter()
    found = read()
    seconds = time.perf_counter() - started
    cpu = time.process_time() - cpu
    gigabytes = (size or array_bytes)(found) / 1e9
    grown = max(memory() - before, 0.0)
    rate, per_core = gigabytes / seconds, gigabytes / cpu
    rows.append((inputs, what, seconds, cpu, gigabytes, rate, per_core, grown))

  read = partial(load_dataset, config, inputs, "train")
  measure("shards, no decoding", lambda: read_shards(config), float)
  config.cache = False
  measure("decode into memory", read)
  config.cache = True
  measure("decode into the cache", read)
  measure("open the cache", read)
  return rows


def measure_waiting(config, inputs: str, batch_size: int, updates: int):
  """Returns rows of where the data are, ms per idle update, and memory."""
  dataset = load_dataset(config, inputs, "train")
  rows = []
  for on_device in (True, False):
    for per_call in (1, 10) if on_device else (1,):
      order = TrainOrder(dataset.questions["scene"], batch_size, 1, 0)

      def step(state, tables, batch):
        batch = input_pipeline.complete(tables, batch)
        return state + 1, sum(x.ravel()[0] for x in jax.tree.leaves(batch))

      before = memory()
      feed = input_pipeline.Feed(dataset, on_device)
      several = parallel.pmap_train_step(parallel.several_updates(step))
      calls = range(0, updates, per_call)
      batches = input_pipeline.prefetch(
        lambda start, feed=feed, order=order, per_call=per_call: feed.batch(
          np.stack([order(start + i) for i in range(per_call)])
        ),
        [0, *calls],  # one to compile
      )
      state = parallel.replicate(np.zeros((), np.int32))
      with contextlib.closing(batches):
        state, _ = several(state, feed.tables, next(batches))
        waited, started = 0.0, time.perf_counter()
        for _ in calls:
          asked = time.perf_counter()
          batch = next(batches)
          waited += time.perf_counter() - asked
          state, found = several(state, feed.tables, batch)
        jax.block_until_ready(found)
        whole = time.perf_counter() - started
      where = "on the device" if on_device else "sent"
      per_update = (1e3 * seconds / updates for seconds in (waited, whole))
      grown = max(memory() - before, 0.0)
      rows.append((inputs, where, per_call, *per_update, grown))
      del feed
  return rows


def run(
  scenes: int, inputs: Sequence[str], batch_size: int, updates: int
) -> tuple[list[tuple], list[tuple]]:
  """Prints and returns the tables; for the arguments see the flags below."""
  reading, waiting = [], []
  with tempfile.TemporaryDirectory() as root:
    folder = Path(root)
    make_records(folder, scenes)
    config = common.get_config().data
    config.dir = root
    for name in inputs:
      reading += measure_reading(config, name)
    for name in inputs:
      waiting += measure_waiting(config, name, batch_size, updates)
    entry = records.read_split(folder, "train")
  print(f"{entry['num_scenes']:,} scenes, {entry['num_questions']:,} questions")
  print()
  header = "inputs", "what", "s", "CPU s", "GB", "GB/s", "GB/CPU s", "MB memory"
  timing.print_table(header, reading)
  print(f"\nBatches of {batch_size}\n")
  header = ("inputs", "data", "updates a call", "ms of waiting", "ms an update")
  timing.print_table((*header, "MB memory"), waiting)
  return reading, waiting


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_integer("scenes", 70_000, "Scenes of the split."),
      flags.DEFINE_list("inputs", ["states", "pixels"], "What to read."),
      flags.DEFINE_integer("batch_size", 640, "Questions of an update."),
      flags.DEFINE_integer("updates", 500, "Updates to feed."),
    ],
  )
