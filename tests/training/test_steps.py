"""The compiled steps: compiled once, in place, and the same in blocks."""

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from benchmarks.workload import random_dataset
from configs import tiny
from rn_jax import parallel
from rn_jax.data.epochs import group_questions
from rn_jax.data.input_pipeline import make_batch
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.steps import (
  init_state,
  make_model,
  make_predict_step,
  make_train_step,
)

NUM_WORDS, NUM_ANSWERS = 82, 28


def make_run(name, batch_size, **changes):
  """Returns a state, the mapped steps, and a function to draw batches."""
  config = tiny.get_config(name)
  config.data.augment = False
  config.model.update(changes)
  dataset = random_dataset(config, 12, 2)
  groups = group_questions(dataset.questions["scene"], 2)
  model = make_model(config, NUM_WORDS, NUM_ANSWERS)
  schedule = make_schedule(config.optimizer, 10.0, 100)
  optimizer = make_optimizer(config.optimizer, schedule)

  def batch(start):
    rows = groups[start : start + batch_size]
    return parallel.split_over_devices(make_batch(dataset, rows))

  example = make_batch(dataset, groups[:1])
  state = jax.jit(lambda: init_state(model, optimizer, example, 0))()
  step = make_train_step(model, optimizer, schedule, config)
  return (
    parallel.replicate(state),
    parallel.pmap_train_step(step),
    parallel.pmap_predict_step(make_predict_step(model)),
    batch,
  )


@pytest.fixture
def compilations():
  """Counts what XLA compiles."""
  counted = []

  def listen(event, duration, **_):
    if event.endswith("backend_compile_duration"):
      counted.append(event)

  jax.monitoring.register_event_duration_secs_listener(listen)
  yield counted
  jax.monitoring.unregister_event_duration_listener(listen)


def test_steps_compile_once_and_update_in_place(compilations):
  devices = jax.device_count()
  state, train, predict, batch = make_run("original_sd", 2 * devices)
  batches = [batch(start) for start in range(4)]
  jax.block_until_ready(batches)
  # Their lengths and numbers of objects differ.
  assert len({int(b["question_length"].max()) for b in batches}) > 1
  old = jax.tree.leaves(state.params)
  for number, arrays in enumerate(batches):
    state, metrics = train(state, {}, arrays)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    jax.block_until_ready((metrics, predict(variables, {}, arrays)))
    if number == 0:
      assert compilations  # the counter counts
      compilations.clear()
  assert not compilations
  assert all(leaf.is_deleted() for leaf in old)


def test_an_update_in_blocks_is_the_update():
  results = []
  for blocks in (None, 2):
    state, train, _, batch = make_run(
      "ir_sd", 8 * jax.device_count(), scenes_per_block=blocks
    )
    state, metrics = train(state, {}, batch(0))
    metrics.pop("accuracy")
    # Adam's first update hides the gradient's size; its moments do not.
    results.append(ravel_pytree((state.opt_state, metrics))[0])
  difference = np.linalg.norm(results[1] - results[0])
  assert difference < 1e-4 * np.linalg.norm(results[0])
