"""Asking a network about an image or a scene."""

import json

import jax
import numpy as np
import pytest
from PIL import Image
from places import SHARED

from configs import common
from rn_jax.answer import ask_command, load
from rn_jax.checkpoint import write_model
from rn_jax.interop.import_torch import import_torch
from rn_jax.steps import make_model

WORDS = ["how", "many", "cubes", "spheres", "are", "there", "?", "cube"]
ANSWERS = ["yes", "no", "0", "1"]
VOCABULARY = {
  "questions": {word: i for i, word in enumerate(WORDS, start=1)},
  "answers": {answer: i for i, answer in enumerate(ANSWERS, start=1)},
}
QUESTION = "How many cubes are there?"
SCENE = {
  "objects": [
    {
      "3d_coords": [1.0, -2.0, 0.7],
      "color": "red",
      "material": "metal",
      "shape": "cube",
      "size": "large",
    },
    {
      "3d_coords": [-1.0, 2.0, 0.35],
      "color": "cyan",
      "material": "rubber",
      "shape": "sphere",
      "size": "small",
    },
  ]
}


def make_checkpoint(directory, inputs, reference=False):
  config = common.get_config()
  if reference:
    common.use_reference_semantics(config)
  config.model.update(
    inputs=inputs,
    conv_channels=(3, 4),
    embedding_size=5,
    lstm_units=6,
    g_units=(7, 8),
    g_dropout=(0.0, 0.0),
    f_units=(9,),
    f_dropout=(0.0,),
  )
  config.data.image_size = 16
  model = make_model(config, len(WORDS), len(ANSWERS))
  batch = {
    "image": np.zeros((1, 16, 16, 3), np.uint8),
    "objects": np.zeros((1, config.data.max_objects, 7), np.float32),
    "object_mask": np.ones((1, config.data.max_objects), bool),
    "question": np.zeros((1, 1, 5), np.int32),
    "question_length": np.full((1, 1), 5, np.int32),
  }
  variables = jax.jit(model.init)(jax.random.key(0), batch)
  write_model(
    directory, variables, config=config.to_dict(), vocabulary=VOCABULARY
  )
  return model, variables, batch


@pytest.fixture
def image():
  rng = np.random.default_rng(0)
  return Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))


def by_answer(answers):
  return [dict(answers)[name] for name in ANSWERS]


@pytest.mark.parametrize("reference", [False, True])
def test_answers_from_pixels(tmp_path, image, reference):
  model, variables, batch = make_checkpoint(tmp_path, "pixels", reference)
  answers = load(tmp_path).ask(image, QUESTION)
  probabilities = [p for _, p in answers]
  assert probabilities == sorted(probabilities, reverse=True)
  assert sum(probabilities) == pytest.approx(1.0, abs=1e-5)
  # By hand; networks that read the padding get 50 words of it and question.
  question = np.zeros((1, 1, 50), np.int32)
  question[..., :6] = [1, 2, 3, 5, 6, 7]
  batch |= {
    "image": np.asarray(image)[None],
    "question": question,
    "question_length": np.full((1, 1), 6, np.int32),
  }
  logits, _ = jax.jit(model.apply)(variables, batch)
  expected = np.asarray(jax.nn.softmax(logits))[0, 0]
  np.testing.assert_allclose(by_answer(answers), expected, rtol=1e-4)


def test_reads_image_files_of_any_size_and_mode(tmp_path, image):
  make_checkpoint(tmp_path / "checkpoint", "pixels")
  network = load(tmp_path / "checkpoint")
  image.save(tmp_path / "a.png")
  expected = by_answer(network.ask(image, QUESTION))
  found = network.ask(tmp_path / "a.png", QUESTION)
  np.testing.assert_allclose(by_answer(found), expected, rtol=1e-5)
  # Transparency is ignored, as by the reference, and others are resized.
  image.putalpha(100)
  found = network.ask(image, QUESTION)
  np.testing.assert_allclose(by_answer(found), expected, rtol=1e-5)
  grey = Image.new("L", (48, 32), 90)
  small = Image.new("RGB", (16, 16), (90, 90, 90))
  np.testing.assert_allclose(
    by_answer(network.ask(grey, QUESTION)),
    by_answer(network.ask(small, QUESTION)),
    rtol=1e-5,
  )


def test_answers_from_a_scene(tmp_path):
  model, variables, batch = make_checkpoint(tmp_path / "checkpoint", "states")
  network = load(tmp_path / "checkpoint")
  answers = network.ask(SCENE, QUESTION)
  objects = np.zeros((1, 10, 7), np.float32)
  objects[0, 0] = [1.0, -2.0, 0.7, 5, 2, 2, 1]
  objects[0, 1] = [-1.0, 2.0, 0.35, 1, 1, 1, 2]
  question = np.zeros((1, 1, 50), np.int32)
  question[..., :6] = [1, 2, 3, 5, 6, 7]
  batch |= {
    "objects": objects,
    "object_mask": np.arange(10)[None] < 2,
    "question": question,
    "question_length": np.full((1, 1), 6, np.int32),
  }
  logits, _ = jax.jit(model.apply)(variables, batch)
  expected = np.asarray(jax.nn.softmax(logits))[0, 0]
  np.testing.assert_allclose(by_answer(answers), expected, rtol=1e-4)
  (tmp_path / "scene.json").write_text(json.dumps(SCENE))
  assert network.ask(tmp_path / "scene.json", QUESTION) == answers


def test_a_long_question_is_padded_too(tmp_path, image):
  make_checkpoint(tmp_path, "pixels", reference=True)
  answers = load(tmp_path).ask(image, "cube " * 60)
  assert len(answers) == len(ANSWERS)


def test_unknown_words_are_named_with_the_nearest(tmp_path, image):
  make_checkpoint(tmp_path, "pixels")
  network = load(tmp_path)
  with pytest.raises(
    ValueError, match=r"'cubez' \(nearest: 'cube', 'cubes', '\w+'\)$"
  ):
    network.ask(image, "How many cubez are there?")
  nearest = r"\(nearest: '\S+', '\S+', '\S+'\)"
  message = rf"know 'big' {nearest} and 'zebras' {nearest}$"
  with pytest.raises(ValueError, match=message):
    network.ask(image, "How many big zebras? big zebras")
  with pytest.raises(ValueError, match="empty"):
    network.ask(image, "  ")


def test_the_wrong_kind_of_scene_is_refused(tmp_path, image):
  make_checkpoint(tmp_path / "fp", "pixels")
  make_checkpoint(tmp_path / "sd", "states")
  pixels, states = load(tmp_path / "fp"), load(tmp_path / "sd")
  image.save(tmp_path / "a.png")
  with pytest.raises(ValueError, match="reads pixels"):
    pixels.ask(SCENE, QUESTION)
  with pytest.raises(ValueError, match="reads state descriptions"):
    states.ask(image, QUESTION)
  with pytest.raises(ValueError, match=r"a\.png: not JSON; .* state descript"):
    states.ask(tmp_path / "a.png", QUESTION)
  (tmp_path / "b.png").write_text("text")
  with pytest.raises(ValueError, match=r"b\.png: not a readable image"):
    pixels.ask(tmp_path / "b.png", QUESTION)
  with pytest.raises(FileNotFoundError):
    pixels.ask(tmp_path / "c.png", QUESTION)
  odd = {"objects": [SCENE["objects"][0] | {"color": "mauve"}]}
  with pytest.raises(ValueError, match="not as CLEVR describes it"):
    states.ask(odd, QUESTION)
  with pytest.raises(ValueError, match="11 objects"):
    states.ask({"objects": SCENE["objects"][:1] * 11}, QUESTION)


def test_the_command_prints_the_best_answers(tmp_path, image):
  make_checkpoint(tmp_path / "c", "pixels")
  image.save(tmp_path / "a.png")
  lines = ask_command(tmp_path / "c", tmp_path / "a.png", QUESTION).split("\n")
  best = load(tmp_path / "c").ask(image, QUESTION)[:3]
  assert [line.split()[-1] for line in lines] == [answer for answer, _ in best]
  assert lines[0].startswith(f"{100 * best[0][1]:5.1f} %")
  with pytest.raises(SystemExit, match="error: the network does not know 'x'"):
    ask_command(tmp_path / "c", tmp_path / "a.png", "x")
  network = load(tmp_path / "c", {"model.dtype": "bfloat16"})
  assert network.config.model.dtype == "bfloat16"
  wrong = {"model.dtype": "float31"}
  with pytest.raises(ValueError, match="float31"):
    ask_command(tmp_path / "c", tmp_path / "a.png", "x", overrides=wrong)


@pytest.mark.skipif(
  not (SHARED / "released_weights").is_dir(),
  reason=f"{SHARED / 'released_weights'} is absent",
)
def test_a_published_network_answers_about_a_rendered_image(tmp_path):
  weights = SHARED / "released_weights"
  source = weights / "original_fp_epoch_493.pth"
  import_torch(source, "clevr", tmp_path / "c")
  reference = SHARED / "clevr_gold" / "rendered"
  entry = json.loads((reference / "reference_predictions.json").read_text())
  network = load(tmp_path / "c")
  for row in range(3):
    asked = entry["questions"][row]
    image = reference / "images" / "val" / asked["image_filename"]
    answers = network.ask(image, asked["question"])
    assert answers[0][0] == entry["predictions"]["original-fp"][row]
    expected = np.exp(entry["log_probabilities"]["original-fp"][row]).max()
    assert answers[0][1] == pytest.approx(expected, abs=0.02)
