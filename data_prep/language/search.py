"""Fills a question template's slots on a scene, by random search.

An instance must have an answer (`unique` meets exactly one object), meet the
template's constraints, not mention a relation that does not matter (in
families that relate without filtering), and have an answer that is wanted.

The search is exact. It is fast because it goes from value to value, not from
words to words: a partly filled template is known by the values that later
nodes look at, and a state that failed once is not tried again.
"""

import functools
import random
from collections.abc import Iterator
from typing import NamedTuple

from data_prep.language.options import (
  Filling,
  Option,
  OptionSpace,
  draw_filling,
  finish,
  named,
)
from data_prep.language.programs import (
  FUNCTIONS,
  InvalidProgramError,
  SceneTable,
  Value,
)
from data_prep.language.templates import SHORT_FORMS, Node, Template


class Instance(NamedTuple):
  """A filled template.

  Attributes:
    answer: What its last node yields.
    fillings: What fills the slots of each node; None: it has no slots.
  """

  answer: Value
  fillings: list[Filling | None]


def find_instance(
  space: OptionSpace,
  template: Template,
  allowed: set[Value],
  rng: random.Random,
) -> Instance | None:
  """Fills a template's slots at random.

  Args:
    space: The scene.
    template: The template.
    allowed: The answers that may be given.
    rng: The source of choices.

  Returns:
    An instance, or None where none satisfies everything.
  """
  if allowed <= template.impossible:
    return None
  nodes, stages = template.nodes, template.stages
  table = space.table
  values: list[Value] = [None] * len(nodes)
  taken: list[Option | None] = [None] * len(nodes)
  failed = set()

  def execute(steps: tuple[int, ...]) -> bool:
    """Executes nodes without slots; whether that is possible."""
    for j in steps:
      node = nodes[j]
      try:
        value = FUNCTIONS[node.function](
          table, *[values[i] for i in node.inputs]
        )
      except InvalidProgramError:
        return False
      values[j] = value
      for i in node.differs:
        if values[i] == value:
          return False
    return True

  def extend(stage: int) -> bool:
    """Fills the rest, from a stage on; whether that is possible."""
    if stage == len(stages):
      return values[-1] in allowed and not _has_idle_relation(
        space, template, values, taken
      )
    first, *rest = stages[stage]
    node, live = nodes[first], nodes[stages[stage][-1]].live
    for option in _draw(space.options(node, values[node.inputs[0]]), rng):
      value = option.value
      if node.differs and value in [values[i] for i in node.differs]:
        continue
      values[first] = value
      taken[first] = option
      if rest and not execute(rest):
        continue
      state = live and (stage, *[values[i] for i in live])
      if state not in failed:
        if extend(stage + 1):
          return True
        if state:
          failed.add(state)
    return False

  if not (execute(stages[0]) and extend(1)):
    return None
  return Instance(
    values[-1], [o and draw_filling(o, rng, space.descriptions) for o in taken]
  )


def _has_idle_relation(
  space: OptionSpace,
  template: Template,
  values: list[Value],
  taken: list[Option | None],
) -> bool:
  """Whether a relation can be left out without changing the answer.

  Templates say which relations are looked at (`Template.relations`).
  """
  for relation in template.relations:
    without = values.copy()
    try:
      for j in (relation.node, *relation.later):
        node = template.nodes[j]
        inputs = [without[i] for i in node.inputs]
        relating = j != relation.node
        without[j] = _redo(space.table, node, inputs, taken[j], relating)
    except InvalidProgramError:
      continue  # without the relation the question has no answer at all
    if without[-1] == values[-1]:
      return True
  return False


def _redo(
  table: SceneTable,
  node: Node,
  inputs: list[Value],
  option: Option | None,
  relating: bool,
) -> Value:
  """Executes a node with other inputs, or without its relation.

  Raises:
    InvalidProgramError: `unique` meets not exactly one object.
  """
  if not relating and node.function == "relate":
    return table.everything
  if option is None:
    return FUNCTIONS[node.function](table, *inputs)
  word, matching = option.way
  if node.function not in SHORT_FORMS:
    return FUNCTIONS[node.function](table, *inputs, word)
  relates, ending = SHORT_FORMS[node.function]
  if not relates:
    objects = matching & inputs[0]
  elif relating:
    objects = matching & table.related[word][inputs[0]]
  else:
    objects = matching
  if ending == "unique":
    return FUNCTIONS["unique"](table, objects)
  return finish(objects, ending)


def build_program(
  template: Template, fillings: list[Filling | None]
) -> list[dict]:
  """Spells out an instance as a program in the layout of the released data."""
  program = []
  position = []  # of each template node in the program
  for node, filling in zip(template.nodes, fillings, strict=True):
    inputs = [position[i] for i in node.inputs]
    for function, word in _steps(node.function, filling):
      side = [] if word is None else [word]
      program.append(
        {"function": function, "inputs": inputs, "value_inputs": side}
      )
      inputs = [len(program) - 1]
    position.append(inputs[0])
  return program


@functools.cache
def _steps(function: str, filling: Filling | None) -> list:
  """The functions that a filled node stands for, each with its word or None."""
  if function not in SHORT_FORMS:
    return [(function, filling and filling.word)]
  relates, ending = SHORT_FORMS[function]
  steps = [("relate", filling.word)] if relates else []
  steps += [(f"filter_{a}", v) for a, v in named(filling.description).items()]
  return [*steps, (ending, None)] if ending else steps


def _draw(options: list[Option], rng: random.Random) -> Iterator[Option]:
  """Yields options in random order, drawn by their weights."""
  while len(options) > 1:
    at = rng.random() * sum([option.weight for option in options])
    last = 0
    for option in options:
      at -= option.weight
      if at < 0:
        break
      last += 1
    yield option
    options = options[:last] + options[last + 1 :]
  yield from options
