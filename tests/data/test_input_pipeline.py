"""Records to arrays, and every question once an epoch."""

import json

import jax
import numpy as np
import pytest

from rn_jax.clevr import ATTRIBUTES, tokenize
from rn_jax.data import records
from rn_jax.data.dataset import load_dataset
from rn_jax.data.decode import pad_questions
from rn_jax.data.input_pipeline import (
  TrainOrder,
  gather,
  group_questions,
  make_batch,
  make_tables,
  prefetch,
)


def test_arrays_are_what_the_json_says(make_config, clevr_dir):
  data = make_config().data
  states = load_dataset(data, "states", "val")
  pixels = load_dataset(data, "pixels", "val")
  scenes = json.loads((clevr_dir / "scenes/CLEVR_val_scenes.json").read_text())
  asked = json.loads(
    (clevr_dir / "questions/CLEVR_val_questions.json").read_text()
  )["questions"]
  assert pixels.scenes["image"].shape == (5, 32, 32, 3)
  assert states.scenes["objects"].shape == (5, 10, 7)
  assert states.num_questions == pixels.num_questions == len(asked)
  words = {i: w for w, i in states.vocabulary["questions"].items()}
  for row in range(states.num_questions):
    number = states.questions["question_index"][row]
    truth = asked[number]
    length = states.questions["question_length"][row]
    tokens = states.questions["question"][row]
    assert [words[t] for t in tokens[:length]] == tokenize(truth["question"])
    assert not tokens[length:].any()
    answer = states.questions["answer"][row]
    assert states.answers[answer] == truth["answer"]
    scene = states.questions["scene"][row]
    assert states.image_filename[scene] == truth["image_filename"]
  for row, scene in enumerate(scenes["scenes"]):
    count = len(scene["objects"])
    np.testing.assert_array_equal(
      states.scenes["object_mask"][row], np.arange(10) < count
    )
    for thing, found in zip(
      scene["objects"], states.scenes["objects"][row], strict=False
    ):
      np.testing.assert_allclose(found[:3], thing["3d_coords"], rtol=1e-6)
      assert [
        values[int(i) - 1]
        for values, i in zip(ATTRIBUTES.values(), found[3:], strict=True)
      ] == [thing[name] for name in ATTRIBUTES]
    assert not states.scenes["objects"][row, count:].any()


def test_what_the_network_cannot_read_is_refused(make_config):
  for inputs, change, words in (
    ("pixels", {"data.image_size": 64}, "--image_size=64"),
    ("states", {"data.max_objects": 2}, "max_objects"),
    ("states", {"data.max_question_length": 5}, "max_question_length=5"),
  ):
    data = make_config(**change).data
    with pytest.raises(records.RecordError, match=words):
      load_dataset(data, inputs, "val")
  with pytest.raises(records.RecordError, match="'test' is not there"):
    load_dataset(make_config().data, "states", "test")


def test_padding_to_a_given_length():
  rows = pad_questions([np.array([3, 1]), np.array([2])], 4, "here")
  np.testing.assert_array_equal(rows, [[3, 1, 0, 0], [2, 0, 0, 0]])
  assert pad_questions([np.array([3, 1])], 0, "here").shape == (1, 2)


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


def test_batches_with_scenes_and_with_indices_agree(make_config):
  dataset = load_dataset(make_config().data, "states", "val")
  groups = np.concatenate(
    [group_questions(dataset.questions["scene"], 4)[:5], np.full((1, 4), -1)]
  )
  sent = make_batch(dataset, groups)
  indexed = jax.jit(gather)(make_tables(dataset), groups)
  assert sent.keys() == indexed.keys()
  for name, values in sent.items():
    assert values.dtype == indexed[name].dtype, name
    np.testing.assert_array_equal(values, indexed[name])
  scene = dataset.questions["scene"][groups[:5, 0]]
  for name, values in dataset.scenes.items():
    np.testing.assert_array_equal(sent[name][:5], values[scene])
  np.testing.assert_array_equal(sent["mask"], groups >= 0)
  row, column = 1, 2
  number = groups[row, column]
  np.testing.assert_array_equal(
    sent["question"][row, column], dataset.questions["question"][number]
  )


def test_prefetch_keeps_the_order_and_passes_errors_on():
  assert list(prefetch(lambda step: step * 2, range(3, 9))) == [
    *range(6, 18, 2)
  ]
  assert list(prefetch(str, range(0))) == []

  def fail(step):
    if step == 2:
      raise OSError("disk")
    return step

  with pytest.raises(OSError, match="disk"):
    list(prefetch(fail, range(5)))
