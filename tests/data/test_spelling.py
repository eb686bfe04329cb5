"""What is written for people is what the network has read."""

import json

import numpy as np

from rn_jax.clevr import tokenize
from rn_jax.data.dataset import load_dataset
from rn_jax.data.images import read_image
from rn_jax.data.spelling import spell, write_scene
from rn_jax.data.states import read_objects


def test_a_written_scene_is_read_back_as_it_was(make_config, tmp_path):
  data = make_config().data
  states = load_dataset(data, "states", "val")
  path = write_scene(states, 3, tmp_path / "example")
  assert path.suffix == ".json"
  np.testing.assert_allclose(
    read_objects(path, data.max_objects),
    states.scenes["objects"][3],
    atol=1e-4,
  )
  pixels = load_dataset(data, "pixels", "val")
  path = write_scene(pixels, 3, tmp_path / "example")
  assert path.suffix == ".png"
  np.testing.assert_array_equal(
    read_image(path, data.image_size), pixels.scenes["image"][3]
  )


def test_a_question_is_spelled_as_it_was_asked(make_config, clevr_dir):
  dataset = load_dataset(make_config().data, "states", "val")
  asked = json.loads(
    (clevr_dir / "questions/CLEVR_val_questions.json").read_text()
  )["questions"]
  of_index = {item["question_index"]: item["question"] for item in asked}
  questions = dataset.questions
  for row in range(5):
    text = spell(
      dataset.vocabulary,
      questions["question"][row],
      questions["question_length"][row],
    )
    number = int(questions["question_index"][row])
    assert text.split() == tokenize(of_index[number])
