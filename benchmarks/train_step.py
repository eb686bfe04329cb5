"""Training speed: whole updates, fed as `rn_jax.train` feeds them.

    python -m benchmarks.train_step [--configs=ir_sd] [--batch_size=640] ...

An update takes a batch from the input pipeline (gathered ahead in a thread)
and runs the mapped step on all devices: augmentation, loss, gradient, sum over
devices, optimizer. Variants: type of the products, and scenes kept on the
devices or sent with every batch. Random data of CLEVR's shapes.

GFLOP/s counts an update as three times the forward pass's products
(benchmarks/flops.py), and compares it with a large product of the same type,
measured in the same run, on every device at once.
"""

import contextlib
import itertools
from collections.abc import Sequence

import jax
from absl import flags

from benchmarks import timing
from benchmarks.flops import forward_flop, matmul_peak
from benchmarks.workload import (
  NUM_ANSWERS,
  NUM_WORDS,
  load_config,
  random_dataset,
)
from rn_jax import parallel
from rn_jax.data import input_pipeline
from rn_jax.data.train_order import TrainOrder
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.settings import num_objects
from rn_jax.steps import init_state, make_model, make_train_step

CONFIGS = ("original_fp", "ir_fp", "avf_fp", "original_sd", "ir_sd", "avf_sd")
DTYPES = ("float32", "bfloat16")
QUESTIONS_PER_SCENE = 10  # as CLEVR has


class Trainer:
  """A fresh run whose calls do one update each."""

  def __init__(self, config, dataset, stack: contextlib.ExitStack):
    data = config.data
    per_scene = data.questions_per_scene
    order = TrainOrder(
      dataset.questions["scene"], config.train.batch_size, per_scene, 0
    )
    model = make_model(config, NUM_WORDS, NUM_ANSWERS)
    schedule = make_schedule(config.optimizer, order.steps_per_epoch, 1000)
    optimizer = make_optimizer(config.optimizer, schedule)
    example = input_pipeline.make_batch(dataset, order(0)[:1])
    fresh = jax.jit(lambda: init_state(model, optimizer, example, 0))
    self._state = parallel.replicate(fresh())
    self.flop = config.train.batch_size * update_flop(
      config, self._state.params, dataset
    )
    feed = input_pipeline.Feed(dataset, data.on_device)
    self._tables = feed.tables
    self._step = parallel.pmap_train_step(
      make_train_step(model, optimizer, schedule, config)
    )
    self._batches = input_pipeline.prefetch(
      lambda step: feed.batch(order(step)), range(10**9)
    )
    stack.enter_context(contextlib.closing(self._batches))

  def __call__(self):
    self._state, metrics = self._step(
      self._state, self._tables, next(self._batches)
    )
    return metrics["loss"]


def update_flop(config, params, dataset) -> float:
  """Returns the operations of an update for each of its questions."""
  if config.model.inputs == "pixels":
    objects = float(num_objects(config))
    pairs = objects**2
  else:
    count = dataset.scenes["object_mask"].sum(-1)
    objects, pairs = float(count.mean()), float((count**2).mean())
  return 3 * forward_flop(
    config,
    params,
    objects,
    pairs,
    float(dataset.questions["question_length"].mean()),
    config.data.questions_per_scene,
  )


def run(
  configs: Sequence[str],
  dtypes: Sequence[str],
  batch_size: int,
  scenes: int,
  repeats: int,
  min_seconds: float = 0.3,
) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  rows = []
  peaks = {dtype: matmul_peak(dtype) for dtype in dtypes}
  for name in configs:
    with contextlib.ExitStack() as stack:
      calls = {}
      for dtype, on_device in itertools.product(dtypes, (False, True)):
        config = load_config(name)
        config.model.dtype, config.data.on_device = dtype, on_device
        config.train.batch_size = batch_size
        dataset = random_dataset(config, scenes, QUESTIONS_PER_SCENE)
        calls[dtype, on_device] = Trainer(config, dataset, stack)
      seconds = timing.measure(calls, repeats, name, min_seconds)
    speeds = timing.speeds(seconds, batch_size)
    for (dtype, on_device), speed in speeds.items():
      where = "on the device" if on_device else "sent"
      rate = calls[dtype, on_device].flop / (1e-3 * speed[0])
      share = rate / (peaks[dtype] * jax.device_count())
      rows.append((name, dtype, where, *speed, rate / 1e9, 100 * share))
  print(f"Updates of {batch_size} questions\n")
  for dtype, peak in peaks.items():
    print(f"Matmul peak of a device, {dtype}: {peak / 1e9:,.0f} GFLOP/s\n")
  header = "config", "dtype", "scenes", "ms", "questions/s", "times as fast"
  timing.print_table((*header, "GFLOP/s", "% of peak"), rows)
  return rows


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_list("configs", list(CONFIGS), "Config files."),
      flags.DEFINE_list("dtypes", list(DTYPES), "Types of the products."),
      flags.DEFINE_integer("batch_size", 640, "Questions of an update."),
      flags.DEFINE_integer("scenes", 2000, "Scenes of the data."),
      flags.DEFINE_integer("repeats", 7, "Rounds of measuring."),
    ],
  )
