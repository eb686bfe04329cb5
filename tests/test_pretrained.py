"""The networks that come with the project answer questions rightly."""

import json

import pytest
from places import ROOT

from rn_jax.answer import load
from rn_jax.checkpoint import load_model

NAMES = sorted(path.name for path in (ROOT / "pretrained").iterdir())
SCENE = ROOT / "examples/scene.json"


def test_there_are_some():
  assert "original_sd" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_card_names_the_weights(name):
  folder = ROOT / "pretrained" / name
  _, meta = load_model(folder)  # which checks every hash
  card = (folder / "README.md").read_text()
  assert meta["hashes"]["model"] in card
  assert f"{100 * meta['metrics']['accuracy']:.1f}" in card
  size = sum(path.stat().st_size for path in folder.rglob("*"))
  assert size < 10 * 2**20
  assert meta["config"]["data"]["dir"] == ""


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_questions_about_the_example(name):
  network = load(ROOT / "pretrained" / name)
  scene = SCENE
  if network.config.model.inputs == "pixels":
    scene = SCENE.with_suffix(".png")
  asked = json.loads((ROOT / "examples/questions.json").read_text())
  wrong = {
    question: network.ask(scene, question)[0]
    for question, answer in asked.items()
    if network.ask(scene, question)[0][0] != answer
  }
  assert not wrong
