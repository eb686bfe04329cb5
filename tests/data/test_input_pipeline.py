"""Records to arrays, and arrays to batches."""

import json

import jax
import numpy as np
import pytest

from rn_jax.clevr import ATTRIBUTES, tokenize
from rn_jax.data import records
from rn_jax.data.dataset import load_dataset
from rn_jax.data.decode import pad_questions
from rn_jax.data.epochs import group_questions
from rn_jax.data.input_pipeline import (
  gather,
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
