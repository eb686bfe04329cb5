"""Questions are understood as they were meant, or not at all."""

import json

import pytest
from places import ROOT

from data_prep.chance import random_stream
from data_prep.generation.job import Job, make_scene
from data_prep.language.in_words import Step, in_words
from data_prep.language.programs import InvalidProgramError, scene_table
from data_prep.language.questions import ask
from data_prep.language.understanding import (
  patterns_of,
  programs,
  right_answer,
)

SCENE = json.loads((ROOT / "examples/scene.json").read_text())
JOB = Job("val", 4, seed=3)


@pytest.fixture(scope="module")
def asked():
  scenes = [make_scene(JOB, i) for i in range(JOB.num_scenes)]
  rng = random_stream("understanding")
  questions = ask(scenes, JOB.language, rng, len(JOB.language.templates))
  return [*zip(scenes, questions, strict=True)]


def test_whatever_templates_ask_is_understood(asked):
  patterns = patterns_of(JOB.language)
  number = 0
  for scene, questions in asked:
    for question in questions:
      number += 1
      text = question["question"]
      assert question["program"] in programs(text, patterns), text
      answer, steps = right_answer(scene, text.upper())
      assert answer == question["answer"] == steps[-1].finds
  assert number > 250


def test_the_example_s_questions_have_the_answers_of_their_file():
  known = json.loads((ROOT / "examples/questions.json").read_text())
  assert {q: right_answer(SCENE, q)[0] for q in known} == known


@pytest.mark.parametrize(
  "question",
  [
    "Who are you?",
    "",
    "How many red red cubes are there?",
    "What color is the thing?",  # there are six
    "There is a " + "big " * 10_000 + "cube; what is its color?",
  ],
)
def test_other_questions_are_not(question):
  assert right_answer(SCENE, question) is None


def test_a_program_in_words():
  answer, steps = right_answer(
    SCENE, "What number of small things are left of the red ball?"
  )
  assert answer == "2"
  assert steps == [
    Step("the red sphere", "small red rubber sphere"),
    Step(
      "what is left of it",
      "3: small blue rubber cylinder, large purple metal cube, small brown "
      "rubber cylinder",
    ),
    Step(
      "the small things among them",
      "2: small blue rubber cylinder, small brown rubber cylinder",
    ),
    Step("how many of them are there?", "2"),
  ]


def test_steps_say_which_ones_they_take():
  nodes = [
    ("scene", [], []),
    ("filter_shape", [0], ["cube"]),
    ("unique", [1], []),
    ("query_color", [2], []),
    ("scene", [], []),
    ("filter_size", [4], ["large"]),
    ("filter_shape", [5], ["cylinder"]),
    ("unique", [6], []),
    ("query_color", [7], []),
    ("equal_color", [3, 8], []),
  ]
  program = [
    {"function": f, "inputs": i, "value_inputs": v} for f, i, v in nodes
  ]
  table = scene_table(SCENE)
  assert [step.does for step in in_words(program, table)] == [
    "the cube",
    "what is its color?",
    "the large cylinder",
    "what is its color?",
    "is the color of steps 2 and 4 the same?",
  ]
  with pytest.raises(InvalidProgramError):
    in_words([*program[:2], {"function": "unique", "inputs": [0]}], table)


def test_many_things_are_counted_and_few_named(asked):
  scene = max((scene for scene, _ in asked), key=lambda s: len(s["objects"]))
  program = [
    {"function": "scene", "inputs": []},
    {"function": "count", "inputs": [0]},
  ]
  (everything, count) = in_words(program, scene_table(scene))
  number = len(scene["objects"])
  assert everything.does == "all things"
  assert everything.finds.endswith(f" and {number - 3} more")
  assert count == ("how many of them are there?", str(number))
