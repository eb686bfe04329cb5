"""How long the first update takes, without and with compiled programs kept.

    python -m benchmarks.first_update [--configs=ir_sd] [--batch_size=64] ...

Each run is a process of its own: it makes a network, compiles an update and
does it. The second run finds what the first one left in a temporary folder
(rn_jax/host/compile_cache.py). Data are random, of CLEVR's shapes.
"""

import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from concurrent import futures

import jax
from absl import flags

from benchmarks import timing
from benchmarks.train_step import CONFIGS, Trainer
from benchmarks.workload import load_config, random_dataset
from rn_jax.host import compile_cache

SCENES, QUESTIONS_PER_SCENE = 100, 10


def first_update(name: str, batch_size: int, folder: str) -> tuple[float, ...]:
  """Returns seconds until there is a fresh network, and of its update."""
  compile_cache.enable(folder)
  config = load_config(name)
  config.train.batch_size = batch_size
  dataset = random_dataset(config, SCENES, QUESTIONS_PER_SCENE)
  with contextlib.ExitStack() as stack:
    started = time.perf_counter()
    trainer = Trainer(config, dataset, stack)
    made = time.perf_counter()
    jax.block_until_ready(trainer())
    return made - started, time.perf_counter() - made


def run(configs: Sequence[str], batch_size: int) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  rows = []
  context = multiprocessing.get_context("spawn")
  for name in configs:
    with tempfile.TemporaryDirectory() as folder:
      for programs in ("compiled", "kept"):
        with futures.ProcessPoolExecutor(1, context) as pool:
          task = pool.submit(first_update, name, batch_size, folder)
          rows.append((name, programs, *task.result()))
  header = "config", "programs", "s for the network", "s for the update"
  timing.print_table(header, rows)
  return rows


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_list("configs", ["quickstart", *CONFIGS], "Config files."),
      flags.DEFINE_integer("batch_size", 20, "Questions of an update."),
    ],
  )
