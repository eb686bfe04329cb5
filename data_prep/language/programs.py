"""Executes CLEVR programs on scenes.

An object is its index, a set of objects an integer whose bit i stands for
object i: filtering, relating, uniting and counting are single operations.
"""

from collections.abc import Callable
from dataclasses import dataclass

from data_prep.world import world_of
from rn_jax.clevr import ANSWER_FUNCTIONS, ATTRIBUTES, RELATIONS
from rn_jax.data.question_form import (
  InvalidProgramError,
  check_inputs,
  function_of,
)

# What a program's node can yield: object set, object, number; truth; word.
Value = int | bool | str


@dataclass(frozen=True)
class SceneTable:
  """A scene, prepared for executing programs.

  Attributes:
    everything: The set of all objects.
    having: attribute → value → the set of objects that have it.
    value_of: attribute → its value for each object.
    related: relation → for each object, the set that is so of it.
  """

  everything: int
  having: dict[str, dict[str, int]]
  value_of: dict[str, tuple[str, ...]]
  related: dict[str, tuple[int, ...]]


def scene_table(scene: dict) -> SceneTable:
  """Prepares a scene in CLEVR's JSON layout."""
  objects = scene["objects"]
  known = world_of(scene).values
  value_of = {a: tuple(o[a] for o in objects) for a in known}
  having = {a: dict.fromkeys(values, 0) for a, values in known.items()}
  for attribute, values in value_of.items():
    for i, value in enumerate(values):
      having[attribute][value] |= 1 << i
  return SceneTable(
    everything=(1 << len(objects)) - 1,
    having=having,
    value_of=value_of,
    related={
      relation: tuple(
        sum(1 << j for j in others)
        for others in scene["relationships"][relation]
      )
      for relation in RELATIONS
    },
  )


def run(program: list[dict], table: SceneTable) -> list[Value]:
  """Executes a program and returns what each node yields.

  Args:
    program: Nodes in CLEVR's layout, with `value_inputs` (released data) or
      `side_inputs` (public generator); see also `function_of`.
    table: The scene.

  Raises:
    InvalidProgramError: `unique` got not exactly one object, or a node is
      unknown or malformed.
  """
  check_inputs(program)
  values: list[Value] = []
  for position, node in enumerate(program):
    name = function_of(node)
    side = node.get("value_inputs") or node.get("side_inputs") or ()
    if not isinstance(name, str) or name not in FUNCTIONS:
      raise InvalidProgramError(f"node {position}: no function {name!r}")
    try:
      values.append(
        FUNCTIONS[name](table, *[values[i] for i in node["inputs"]], *side)
      )
    # What is not a set, such as a word, has no bits to count.
    except (AttributeError, IndexError, KeyError, TypeError) as error:
      raise InvalidProgramError(f"node {position}: bad {node}") from error
  return values


def execute(program: list[dict], table: SceneTable) -> str:
  """Returns a program's answer, spelled as in the released data.

  Raises:
    InvalidProgramError: The program has no answer on this scene.
  """
  values = run(program, table)
  last = function_of(program[-1])
  if last not in ANSWER_FUNCTIONS:
    raise InvalidProgramError(f"{last} does not end a program")
  return answer_text(values[-1])


def answer_text(value: Value) -> str:
  """Spells an answer: yes or no, digits, or a word."""
  if isinstance(value, bool):
    return "yes" if value else "no"
  return str(value)


def _unique(table: SceneTable, objects: int) -> int:
  if objects.bit_count() != 1:
    raise InvalidProgramError(f"unique: {objects.bit_count()} objects")
  return objects.bit_length() - 1


def _functions() -> dict[str, Callable[..., Value]]:
  """Every function by name; called with table, inputs, then side input."""
  table = {
    "scene": lambda t: t.everything,
    "unique": _unique,
    "relate": lambda t, i, relation: t.related[relation][i],
    "union": lambda t, a, b: a | b,
    "intersect": lambda t, a, b: a & b,
    "count": lambda t, objects: objects.bit_count(),
    "exist": lambda t, objects: objects != 0,
    "equal_integer": lambda t, a, b: a == b,
    "less_than": lambda t, a, b: a < b,
    "greater_than": lambda t, a, b: a > b,
  }
  for name in ATTRIBUTES:
    table[f"filter_{name}"] = lambda t, s, v, a=name: s & t.having[a][v]
    table[f"query_{name}"] = lambda t, i, a=name: t.value_of[a][i]
    table[f"equal_{name}"] = lambda t, a, b: a == b
    table[f"same_{name}"] = lambda t, i, a=name: (
      t.having[a][t.value_of[a][i]] & ~(1 << i)
    )
  return table


FUNCTIONS = _functions()
