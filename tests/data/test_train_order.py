"""Every question once an epoch, after the stages of a curriculum."""

import numpy as np
import pytest

from rn_jax.data.curriculum import Stage
from rn_jax.data.epochs import group_questions
from rn_jax.data.train_order import TrainOrder


def test_groups_by_hand():
  scene = np.array([0, 0, 0, 1, 2, 2])
  np.testing.assert_array_equal(
    group_questions(scene, 2), [[0, 1], [2, -1], [3, -1], [4, 5]]
  )
  np.testing.assert_array_equal(
    group_questions(scene, 1), np.arange(6)[:, None]
  )


@pytest.mark.parametrize("per_group", [1, 2, 3, 10])
def test_groups_hold_each_question_once_and_one_scene(per_group):
  rng = np.random.default_rng(0)
  scene = np.sort(rng.integers(0, 20, 100))
  groups = group_questions(scene, per_group, rng)
  live = groups >= 0
  np.testing.assert_array_equal(np.sort(groups[live]), np.arange(100))
  assert live[:, 0].all()
  for row, mask in zip(groups, live, strict=True):
    assert len(set(scene[row[mask]])) == 1
  other = group_questions(scene, per_group, np.random.default_rng(1))
  assert not np.array_equal(groups, other)


@pytest.mark.parametrize("per_scene", [1, 5])
def test_an_epoch_is_a_permutation_and_depends_on_the_step_alone(per_scene):
  scene = np.repeat(np.arange(21), 10)
  order = TrainOrder(scene, 40, per_scene, seed=3)
  assert order.steps_per_epoch == 210 / 40
  # 21 steps are exactly four epochs; batches may span two of them.
  stream = np.concatenate([order(step).reshape(-1) for step in range(21)])
  epochs = stream.reshape(4, 210)
  for epoch in epochs:
    np.testing.assert_array_equal(np.sort(epoch), np.arange(210))
  assert not np.array_equal(epochs[0], epochs[1])
  # A resumed run starts in the middle.
  resumed = TrainOrder(scene, 40, per_scene, seed=3)
  np.testing.assert_array_equal(resumed(13), order(13))
  other = TrainOrder(scene, 40, per_scene, seed=4)
  assert not np.array_equal(other(13), order(13))


def test_a_batch_of_half_a_group_is_refused():
  with pytest.raises(ValueError, match="questions_per_scene=3"):
    TrainOrder(np.zeros(10, int), 8, 3, 0)


def test_updates_of_some_epochs():
  order = TrainOrder(np.zeros(100, int), 40, 1, seed=0)
  assert [order.num_steps(e) for e in (0.21, 1.0, 2.0)] == [1, 2, 5]
  for epochs in (0.2, 0.0, -1.0, float("nan")):
    with pytest.raises(ValueError, match=r"100 questions.* batches of 40"):
      order.num_steps(epochs)


SCENE = np.repeat(np.arange(30), 10)
EASY, HARD = np.arange(0, 300, 3), np.arange(1, 300, 3)


def test_empty_places_of_a_group_are_not_counted_as_questions():
  # Of ten scenes with six questions each, in groups of ten.
  order = TrainOrder(np.repeat(np.arange(10), 6), 20, 10, seed=0)
  read = [(order(step) >= 0).sum() for step in range(7)]
  assert [order.questions(done) for done in range(8)] == [
    sum(read[:done]) for done in range(8)
  ]
  assert order.questions(5) == 60
  assert order.batch_size(0) == 20
  # In a stage, one question of each scene.
  stage = Stage(("all",), 40), np.arange(0, 60, 6)
  order = TrainOrder(np.repeat(np.arange(10), 6), 20, 10, 0, [stage])
  assert [order.questions(done) for done in range(5)] == [0, 2, 4, 16, 28]


def two_stages(accuracy=None, per_scene=1):
  stages = [
    (Stage(("easy",), 250, accuracy), EASY),
    (Stage(("easy", "hard"), 100), np.union1d(EASY, HARD)),
  ]
  return TrainOrder(SCENE, 20, per_scene, 7, stages)


@pytest.mark.parametrize("per_scene", [1, 5])
def test_each_stage_reads_its_questions_once_an_epoch(per_scene):
  order = two_stages(per_scene=per_scene)
  assert order.ends == [13, 18]  # 250 questions need 13 updates of 20
  assert [order.stage(step) for step in (0, 12, 13, 17, 18, 99)] == [
    0, 0, 1, 1, 2, 2,
  ]  # fmt: skip

  def read(steps):
    groups = np.concatenate([order(step).reshape(-1) for step in steps])
    return groups[groups >= 0]

  np.testing.assert_array_equal(np.unique(read(range(13))), EASY)
  if per_scene == 1:
    for epoch in (range(5), range(5, 10)):
      np.testing.assert_array_equal(np.sort(read(epoch)), EASY)
  assert np.isin(read(range(13, 18)), np.union1d(EASY, HARD)).all()
  plain = TrainOrder(SCENE, 20, per_scene, 7)
  for step in range(40):  # behind the stages it is the order without them
    np.testing.assert_array_equal(order(18 + step), plain(step))


def test_a_stage_ends_where_its_accuracy_is_reached():
  order = two_stages(accuracy=0.9)
  # Means of the updates 1 to 4 and 5 to 8 count, whatever came in between.
  assert not order.observe(3, np.full(3, 0.8), decide=False, notice=2)
  assert not order.observe(4, np.array([1.0]), decide=True, notice=2)
  resumed = two_stages(accuracy=0.9)
  assert not order.observe(6, np.array([0.8, 1.0]), decide=False, notice=2)
  resumed.restore(order.state())
  for each in (order, resumed):
    assert each.observe(8, np.array([0.9, 0.9]), decide=True, notice=2)
    assert each.ends == [10, 15]
    # The second stage has no level.
    assert not each.observe(12, np.ones(4), decide=True, notice=2)
  np.testing.assert_array_equal(order(11), two_stages()(14))


def test_a_stage_is_judged_by_its_own_updates_alone():
  stages = [(Stage((n,), 100, 0.9), EASY) for n in ("a", "b")]
  order = TrainOrder(SCENE, 20, 1, 0, stages)
  assert not order.observe(4, np.zeros(4), decide=True, notice=0)
  # Updates 5 to 8 belong to both; the second stage began at 5.
  assert not order.observe(8, np.ones(4), decide=True, notice=0)
  assert order.observe(9, np.ones(1), decide=True, notice=0)
  assert order.ends == [5, 9]


def test_balanced_answers_are_alike_often_and_a_function_of_the_update():
  # A hundred questions: 90 of the first answer, 9 of the second, 1 of the last.
  answer = np.repeat([7, 2, 5], [90, 9, 1])
  scene = np.arange(100) // 10

  def read():
    order = TrainOrder(scene, 10, 1, 0, balanced=answer)
    return np.concatenate([order(step)[:, 0] for step in range(300)])

  drawn = read()
  counts = np.bincount(answer[drawn])[[7, 2, 5]]
  assert counts.sum() == 3000
  # A thousand each; three times the standard deviation is 77.
  assert np.all(np.abs(counts - 1000) < 100)
  for value in (7, 2, 5):  # and of one answer all questions
    assert set(drawn[answer[drawn] == value]) == set(
      np.flatnonzero(answer == value)
    )
  np.testing.assert_array_equal(drawn, read())
  with pytest.raises(ValueError, match="questions_per_scene=2 to 1"):
    TrainOrder(scene, 10, 2, 0, balanced=answer)
