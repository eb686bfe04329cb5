"""Programs in words, with what each step finds on a scene."""

from typing import NamedTuple

from data_prep.language.programs import (
  SceneTable,
  Value,
  answer_text,
  function_of,
  run,
)
from data_prep.language.templates import Description

_RELATED = {
  "left": "left of",
  "right": "right of",
  "front": "in front of",
  "behind": "behind",
}
_COMPARED = {
  "equal_integer": "the same as",
  "less_than": "less than",
  "greater_than": "greater than",
}
_SETS = ("scene", "filter", "relate", "same", "union", "intersect")
_NAMED = 3  # objects of a set that are listed


class Step(NamedTuple):
  """A step of a program.

  Attributes:
    does: What it does, such as "the small things among them".
    finds: What it yields, such as "2: small red rubber cube, …".
  """

  does: str
  finds: str


def in_words(program: list[dict], table: SceneTable) -> list[Step]:
  """Says what a program does, and what each of its steps yields.

  Filters that follow on one another, and the look at all things before or at
  the only one after them, are one step. "It", "they" and "them" are what the
  step before has yielded; other steps are called by their number, from 1.

  Args:
    program: Nodes in CLEVR's layout.
    table: The scene.

  Raises:
    InvalidProgramError: The program has no answer on this scene.
  """
  values = run(program, table)
  names = [str(function_of(node)) for node in program]
  steps: list[Step] = []
  step_of: list[int] = []  # by node, the number of its step; 0: all things
  filters: dict[str, str] = {}
  for position, (node, name) in enumerate(zip(program, names, strict=True)):
    inputs = node["inputs"]
    following = names[position + 1 :][:1] or [""]
    kind, _, attribute = name.partition("_")
    if kind == "filter":
      side = node.get("value_inputs") or node.get("side_inputs")
      filters[attribute] = side[0]
    if (kind in ("scene", "filter") and following[0].startswith("filter_")) or (
      kind == "filter" and following == ["unique"]
    ):
      step_of.append(step_of[inputs[0]] if inputs else 0)
      continue
    numbers = [step_of[i] for i in inputs]
    if kind == "filter" or (kind == "unique" and filters):
      does = _described(filters, kind == "unique")
      them = (
        "them" if numbers[0] == len(steps) else f"those of step {numbers[0]}"
      )
      does += f" among {them}" if numbers[0] else ""
      filters = {}
    else:
      side = node.get("value_inputs") or node.get("side_inputs") or [""]
      does = _does(name, side[0], numbers, len(steps))
    steps.append(Step(does, _finds(kind, values[position], table)))
    step_of.append(len(steps))
  return steps


def _described(filters: dict[str, str], single: bool) -> str:
  """Writes "the large red cubes"."""
  words = [filters.get(name) for name in Description._fields[:-1]]
  noun = filters.get("shape", "thing") + ("" if single else "s")
  return " ".join(["the", *filter(None, words), noun])


def _does(name: str, word: str, numbers: list[int], last: int) -> str:
  """Says what a node other than a filter does.

  Args:
    name: Its function.
    word: Its side input, or "".
    numbers: Of the steps that it takes.
    last: The number of the step before.
  """
  kind, _, attribute = name.partition("_")
  apart = bool(numbers) and numbers[0] != last
  them, it = (f"step {numbers[0]}",) * 2 if apart else ("them", "it")
  both = " and ".join(map(str, numbers))
  match kind:
    case "scene":
      return "all things"
    case "unique":
      return f"the only one of {them}"
    case "relate":
      return f"what is {_RELATED[word]} {it}"
    case "same":
      return f"what else has its {attribute}"
    case "union":
      return f"what is in step {numbers[0]} or in step {numbers[1]}"
    case "intersect":
      return f"what is both in step {numbers[0]} and in step {numbers[1]}"
    case "count":
      return f"how many of {them} are there?"
    case "exist":
      return f"is there any of {them}?"
    case "query":
      return f"what is its {attribute}?"
  if name in _COMPARED:
    return f"is step {numbers[0]} {_COMPARED[name]} step {numbers[1]}?"
  return f"is the {attribute} of steps {both} the same?"


def _finds(kind: str, value: Value, table: SceneTable) -> str:
  """Writes a value: the names of objects, or an answer."""
  if kind == "unique":
    return _name(int(value), table)
  if kind not in _SETS:
    return answer_text(value)
  size = table.everything.bit_length()
  found = [_name(i, table) for i in range(size) if int(value) >> i & 1]
  if len(found) <= 1:
    return found[0] if found else "nothing"
  listed = ", ".join(found[:_NAMED])
  more = len(found) - _NAMED
  return f"{len(found)}: {listed}" + (f" and {more} more" if more > 0 else "")


def _name(i: int, table: SceneTable) -> str:
  return " ".join(table.value_of[name][i] for name in Description._fields)
