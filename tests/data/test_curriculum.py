"""Which questions a stage of a curriculum reads."""

import numpy as np
import pytest

from rn_jax.data.curriculum import Stage, choose_questions, parse_stage
from rn_jax.data.dataset import load_dataset
from rn_jax.data.train_order import make_train_order


def test_stages_are_read_from_text():
  assert parse_stage("zero_hop: 250_000") == Stage(("zero_hop",), 250000)
  assert parse_stage(" zero_hop, count : 5 or 0.95") == Stage(
    ("zero_hop", "count"), 5, 0.95
  )
  assert parse_stage("one_hop/0-3 zero_hop/2 up to 5 objects: 7") == Stage(
    ("one_hop/0-3", "zero_hop/2"), 7, None, 5
  )
  for text in ("zero_hop", "zero_hop: 0", ": 5", "a: 5 or 95", "a: -1", "a:b"):
    with pytest.raises(ValueError, match=r"data.curriculum has the stage"):
      parse_stage(text)


def test_questions_of_files_templates_types_and_small_scenes(make_config):
  dataset = load_dataset(make_config().data, "states", "train")
  files = np.array([name.split("/")[0] for name in dataset.family])
  numbers = np.array([int(name.split("/")[1]) for name in dataset.family])
  kind, scene = (dataset.questions[k] for k in ("question_type", "scene"))
  file = files[0]
  small = dataset.scenes["object_mask"].sum(-1)[scene] <= 5
  for text, expected in (
    (file, files == file),
    (f"{file}, count", (files == file) | (kind == 0)),
    (f"{file}/0-1", (files == file) & (numbers < 2)),
    (f"{file}/{numbers[0]}", (files == file) & (numbers == numbers[0])),
    (f"{file} up to 5 objects", (files == file) & small),
    ("all up to 5 objects", small),
  ):
    chosen = choose_questions(dataset, parse_stage(f"{text}: 9"))
    assert len(chosen), text
    np.testing.assert_array_equal(chosen, np.flatnonzero(expected), text)


def test_a_stage_without_questions_is_an_error(make_config):
  config = make_config()
  dataset = load_dataset(config.data, "states", "train")
  for text, message in (
    ("four_hop", "names 'four_hop'.* count"),
    (f"{dataset.family[0].split('/')[0]}/77", "/77"),
    ("count up to 1 objects", "up to 1 objects"),
  ):
    with pytest.raises(ValueError, match=message):
      choose_questions(dataset, parse_stage(f"{text}: 9"))
  pixels = load_dataset(config.data, "pixels", "train")
  with pytest.raises(ValueError, match="from states only"):
    choose_questions(pixels, parse_stage("count up to 5 objects: 9"))
  config.data.curriculum = ("count: 10000000",)
  order = make_train_order(config, dataset)
  with pytest.raises(ValueError, match="the whole training has"):
    order.num_steps(1.0)
