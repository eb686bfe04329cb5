"""Single scenes, as the demonstration makes and completes them."""

import json

import pytest
from places import ROOT

from data_prep.generation.one_scene import complete, draw, make, suggest
from data_prep.language.understanding import right_answer

EXAMPLE = json.loads((ROOT / "examples/scene.json").read_text())


def test_a_seed_is_a_scene_with_questions_that_have_answers():
  assert make(1) == make(1) != make(2)
  for seed in range(3):
    scene = make(seed)
    questions = suggest(scene, seed)
    assert questions == suggest(scene, seed)
    assert len(questions) == 6
    assert all(right_answer(scene, question) for question in questions)


def test_relations_follow_from_coordinates():
  scene = complete({"objects": EXAMPLE["objects"], "relationships": "odd"})
  for relation, lists in EXAMPLE["relationships"].items():
    assert [*map(sorted, scene["relationships"][relation])] == [
      *map(sorted, lists)
    ]
  assert "camera" not in scene
  assert complete(EXAMPLE)["camera"] == EXAMPLE["camera"]
  of_world = {"background": [0, 80, 0], "properties": {"shapes": {}}}
  assert of_world.items() <= complete(EXAMPLE | of_world).items()


@pytest.mark.parametrize(
  "odd",
  [
    {"camera": None},
    {"camera": [0, 0]},
    {"camera": [float("nan"), 0, 0]},
    {"camera": "here"},
    {"camera": [[1], [2], [3]]},
    {"lamps": {"key": "x"}},
    {"lamps": 7},
    {"lamps": [1, 2]},
    {"lamps": {"key": [1, 2, 3]}},
  ],
  ids=str,
)
def test_what_cannot_be_drawn_is_a_value_error(odd):
  with pytest.raises(ValueError, match=r"camera|lamp"):
    draw(complete(EXAMPLE | odd))


@pytest.mark.parametrize("name", ["rotation", "color"])
def test_an_object_that_cannot_be_drawn_is_a_value_error(name):
  for value in (None, "x", [], {}, float("nan")):
    objects = [EXAMPLE["objects"][0] | {name: value}]
    with pytest.raises(ValueError, match="object 0"):
      draw(EXAMPLE | {"objects": objects})
