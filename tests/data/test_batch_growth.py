"""Batches that double: sizes by hand, and what they read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from rn_jax.data.batch_growth import BatchGrowth
from rn_jax.data.curriculum import Stage
from rn_jax.data.input_pipeline import plan_calls
from rn_jax.data.train_order import TrainOrder
from rn_jax.optimizer import make_schedule
from rn_jax.run_series import (
  questions_between,
  questions_read,
  seconds_between,
)


def test_sizes_by_hand():
  growth = BatchGrowth(32, 10.0, double_every=2.0, largest=640)
  assert growth.ratios == [1, 2, 4, 8, 16, 20]
  # 20 batches each; what does not fit makes the next size begin a little late.
  assert growth.starts.tolist() == [0, 20, 30, 35, 38, 39]
  assert growth.read.tolist() == [0, 20, 40, 60, 84, 100]
  read = [0]
  for step in range(45):
    read.append(read[-1] + growth.ratio(step))
    assert growth.units(step + 1) == read[-1]
    assert growth.steps(read[-1]) == step + 1
  traced = jax.jit(lambda step: growth.units(step, jnp))
  assert [int(traced(step)) for step in range(46)] == read
  never = BatchGrowth(32, 10.0)
  assert [never.units(9), never.ratio(9), never.steps(8.6)] == [9, 1, 9]


def test_what_cannot_grow_is_refused():
  for arguments in (
    (32, 10.0, -1.0, 64),
    (32, 10.0, 1.0, 80),
    (64, 1.0, 1, 32),
  ):
    with pytest.raises(ValueError, match="the last be a multiple"):
      BatchGrowth(*arguments)
  stages = [(Stage(("a",), 100), np.arange(10))]
  with pytest.raises(ValueError, match="double_batch_every=1 to 0"):
    TrainOrder(np.zeros(20, int), 4, 1, 0, stages, None, 1.0, 8)


@pytest.mark.parametrize("per_scene", [1, 5])
def test_a_growing_batch_reads_every_question_once_an_epoch(per_scene):
  scene = np.repeat(np.arange(24), 10)

  def make():
    return TrainOrder(scene, 20, per_scene, 3, (), None, 1.5, 120)

  order = make()
  steps = order.num_steps(10.0)
  batches = [order(step) for step in range(steps)]
  sizes = [batch.size for batch in batches]
  assert sizes == sorted(sizes)
  assert set(sizes) == {20, 40, 80, 120}
  stream = np.concatenate([batch.reshape(-1) for batch in batches])
  assert abs(len(stream) - 2400) <= 60
  for epoch in stream[: 9 * 240].reshape(9, 240):
    np.testing.assert_array_equal(np.sort(epoch), np.arange(240))
  # The same stream as with one size, and a function of the update alone.
  plain = TrainOrder(scene, 20, per_scene, 3)
  same = np.concatenate([plain(step).reshape(-1) for step in range(100)])
  np.testing.assert_array_equal(stream[:2000], same)
  for step in (steps - 1, 20, 3):
    np.testing.assert_array_equal(make()(step), batches[step])
    assert order.questions(step) == sum(sizes[:step])
    assert order.epoch(step) == pytest.approx(sum(sizes[:step]) / 240)
  # No call has batches of two sizes.
  calls = list(plan_calls(range(steps), 4, order.size_changes))
  assert sum(map(len, calls)) == steps
  assert max(map(len, calls)) == 4
  for call in calls:
    assert len({sizes[step] for step in call}) == 1


def test_schedules_go_by_the_questions_read():
  order = TrainOrder(np.zeros(240, int), 20, 1, 0, (), None, 1.0, 80)
  config = common.get_config().optimizer
  config.update(schedule="exponential", decay_epochs=1.0, learning_rate=1.0)
  schedule = order.paced(make_schedule(config, order.steps_per_epoch, 0))
  for step in range(order.num_steps(6.0)):
    expected = 0.5 ** order.epoch(step)
    assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)
  plain = TrainOrder(np.zeros(240, int), 20, 1, 0)
  assert plain.paced(schedule) is schedule


def test_a_card_counts_the_questions_of_batches_that_grew():
  step = np.array([10, 15, 16])
  series = {
    "train/samples_per_second": {"step": step, "value": np.array([8, 4, 2])},
    "train/batch_size": {"step": step, "value": np.array([4, 8, 16])},
  }
  read = questions_between(series, 4)
  assert read.tolist() == [40, 40, 16]
  assert seconds_between(series, read).sum() == 5 + 10 + 8
  steps = np.array([0, 5, 10, 12, 16, 18])
  expected = [0, 20, 40, 56, 96, 128]
  assert questions_read(series, 4, steps).tolist() == expected
  series["train/questions"] = {"step": step, "value": np.array([30, 50, 59])}
  assert questions_between(series, 4).tolist() == [30, 20, 9]
  assert questions_read(series, 4, steps).tolist() == [0, 15, 30, 38, 59, 77]
  # An older version began the run, whose first line does not tell.
  series["train/questions"] = {"step": step[1:], "value": np.array([50, 59])}
  assert questions_between(series, 4).tolist() == [40, 40, 16]
  assert questions_read(series, 4, steps).tolist() == expected
  del series["train/questions"]
  del series["train/batch_size"]
  assert questions_between(series, 4).tolist() == [40, 20, 4]
  assert questions_read(series, 4, steps).tolist() == [0, 20, 40, 48, 64, 72]
