"""Programs give the answers that a person would work out by hand."""

import json

import pytest
from degenerate import is_degenerate
from places import SHARED

from data_prep.language import programs

GOLD = SHARED / "clevr_gold"

# Four objects; from left to right 0, 1, 2, 3, from front to back 2, 0, 3, 1.
SCENE = {
  "objects": [
    {"size": "large", "color": "red", "material": "metal", "shape": "cube"},
    {"size": "small", "color": "red", "material": "rubber", "shape": "sphere"},
    {
      "size": "small",
      "color": "blue",
      "material": "metal",
      "shape": "cylinder",
    },
    {
      "size": "large",
      "color": "green",
      "material": "rubber",
      "shape": "sphere",
    },
  ],
  "relationships": {
    "right": [[1, 2, 3], [2, 3], [3], []],
    "left": [[], [0], [0, 1], [0, 1, 2]],
    "behind": [[1, 3], [], [0, 1, 3], [1]],
    "front": [[2], [0, 2, 3], [], [0, 2]],
  },
}


def _program(text):
  """Reads "filter_color:red 0 | count 1" (function:value inputs | …)."""
  nodes = []
  for part in text.split("|"):
    head, *inputs = part.split()
    function, _, value = head.partition(":")
    nodes.append(
      {
        "function": function,
        "inputs": [int(i) for i in inputs],
        "value_inputs": [value] if value else [],
      }
    )
  return nodes


_RED = "scene | filter_color:red 0"
_CUBE = "scene | filter_shape:cube 0 | unique 1"
_TINY_BALL = "scene | filter_size:small 0 | filter_shape:sphere 1 | unique 2"
_CUBE_AND_BLUE = f"{_CUBE} | scene | filter_color:blue 3 | unique 4"
_REDS_AND_CUBES = f"{_RED} | count 1 | scene | filter_shape:cube 3 | count 4"

BY_HAND = [
  ("scene | count 0", "4"),
  ("scene | filter_size:small 0 | count 1", "2"),
  (f"{_RED} | count 1", "2"),
  ("scene | filter_material:metal 0 | count 1", "2"),
  ("scene | filter_shape:sphere 0 | count 1", "2"),
  ("scene | filter_color:cyan 0 | count 1", "0"),
  (f"{_RED} | exist 1", "yes"),
  ("scene | filter_color:cyan 0 | exist 1", "no"),
  (f"{_TINY_BALL} | query_size 3", "small"),
  (f"{_TINY_BALL} | query_color 3", "red"),
  (f"{_TINY_BALL} | query_material 3", "rubber"),
  (f"{_TINY_BALL} | query_shape 3", "sphere"),
  (f"{_TINY_BALL} | relate:right 3 | count 4", "2"),
  (f"{_TINY_BALL} | relate:left 3 | unique 4 | query_shape 5", "cube"),
  (f"{_TINY_BALL} | relate:front 3 | count 4", "3"),
  (f"{_TINY_BALL} | relate:behind 3 | exist 4", "no"),
  (f"{_CUBE} | same_size 2 | unique 3 | query_color 4", "green"),
  (f"{_CUBE} | same_color 2 | unique 3 | query_shape 4", "sphere"),
  (f"{_CUBE} | same_material 2 | unique 3 | query_color 4", "blue"),
  (f"{_TINY_BALL} | same_shape 3 | unique 4 | query_color 5", "green"),
  (f"{_CUBE} | same_shape 2 | exist 3", "no"),
  (f"{_RED} | scene | filter_shape:sphere 2 | union 1 3 | count 4", "3"),
  (f"{_RED} | scene | filter_shape:sphere 2 | intersect 1 3 | count 4", "1"),
  (f"{_CUBE_AND_BLUE} | query_size 2 | query_size 5 | equal_size 6 7", "no"),
  (
    f"{_CUBE_AND_BLUE} | query_material 2 | query_material 5"
    " | equal_material 6 7",
    "yes",
  ),
  (f"{_CUBE_AND_BLUE} | query_color 2 | query_color 5 | equal_color 6 7", "no"),
  (f"{_CUBE_AND_BLUE} | query_shape 2 | query_shape 5 | equal_shape 6 7", "no"),
  (f"{_REDS_AND_CUBES} | equal_integer 2 5", "no"),
  (f"{_REDS_AND_CUBES} | less_than 2 5", "no"),
  (f"{_REDS_AND_CUBES} | greater_than 2 5", "yes"),
]


@pytest.mark.parametrize(("text", "answer"), BY_HAND)
def test_by_hand(text, answer):
  table = programs.scene_table(SCENE)
  assert programs.execute(_program(text), table) == answer


def test_by_hand_covers_every_function():
  used = {n["function"] for text, _ in BY_HAND for n in _program(text)}
  assert used == set(programs.FUNCTIONS)


def test_both_spellings():
  table = programs.scene_table(SCENE)
  program = [
    {"type": "scene", "inputs": []},
    {"type": "filter_color", "inputs": [0], "side_inputs": ["red"]},
    {"type": "count", "inputs": [1]},
  ]
  assert programs.execute(program, table) == "2"


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (f"{_RED} | unique 1 | query_size 2", "2 objects"),
    ("scene | filter_color:cyan 0 | unique 1 | query_size 2", "0 objects"),
    ("scene | filter_weight:heavy 0 | count 1", "filter_weight"),
    ("scene | filter_color:pink 0 | count 1", "node 1"),
    ("scene | count 3", "node 1: its inputs are no earlier nodes"),
    ("scene | count 1", "node 1: its inputs are no earlier nodes"),
    ("scene | count -1", "node 1: its inputs are no earlier nodes"),
    ("scene | filter_color:red 1 | count 1", "node 1: its inputs"),
    (f"{_TINY_BALL} | query_size 3 | unique 4", "node 5: bad"),
    ("scene | filter_color:red 0", "does not end"),
  ],
)
def test_invalid_programs(text, message):
  with pytest.raises(programs.InvalidProgramError, match=message):
    programs.execute(_program(text), programs.scene_table(SCENE))


@pytest.mark.parametrize("program", [[], {}, None, [1], ["count"], [None]])
def test_what_is_no_program(program):
  with pytest.raises(programs.InvalidProgramError):
    programs.execute(program, programs.scene_table(SCENE))


def test_degenerate_relations():
  table = programs.scene_table(SCENE)
  # All spheres are right of the cube, so "right of the cube" adds nothing …
  spheres = _program(f"{_CUBE} | relate:right 2 | filter_shape:sphere 3")
  assert is_degenerate([*spheres, *_program("count 4")], table)
  # … but not all red things are.
  reds = _program(f"{_CUBE} | relate:right 2 | filter_color:red 3 | count 4")
  assert not is_degenerate(reds, table)
  # Without the relation "the red thing" means nothing: the relation matters.
  red = _program(
    f"{_CUBE} | relate:right 2 | filter_color:red 3 | unique 4 | query_shape 5"
  )
  assert programs.execute(red, table) == "sphere"
  assert not is_degenerate(red, table)


@pytest.mark.parametrize("folder", ["scenes_only", "rendered"])
def test_every_gold_answer(folder):
  if not GOLD.exists():
    pytest.skip("the gold data are not here")
  root = GOLD / folder
  scenes = json.loads((root / "scenes/CLEVR_val_scenes.json").read_text())
  tables = {s["image_index"]: programs.scene_table(s) for s in scenes["scenes"]}
  text = (root / "questions/CLEVR_val_questions.json").read_text()
  wrong = [
    question
    for question in json.loads(text)["questions"]
    if programs.execute(question["program"], tables[question["image_index"]])
    != question["answer"]
  ]
  assert not wrong
