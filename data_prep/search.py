"""Fills a question template's slots on a scene, by random search.

An instance must have an answer (`unique` meets exactly one object), meet the
template's constraints, not mention a relation that does not matter (in
families that relate without filtering), and have an answer that is wanted.

The search is exact. It is fast because sets are integers, and because a partly
filled template is known by the values that later nodes look at: a state that
failed once is not tried again.
"""

import functools
import random
from collections.abc import Iterator
from itertools import product

from data_prep.programs import (
  FUNCTIONS,
  InvalidProgramError,
  SceneTable,
  Value,
  is_degenerate,
)
from data_prep.templates import DESCRIPTION, SHORT_FORMS, Node, Template
from rn_jax.clevr import ATTRIBUTES, RELATIONS

# All descriptions (size, colour, material, shape); None: not named. The first
# names nothing.
DESCRIPTIONS = tuple(product(*[(None, *ATTRIBUTES[a]) for a in DESCRIPTION]))

# Relations that say nothing ("the cube left of…" where there is one cube): so
# many are kept for each one that does.
_IDLE_RELATIONS = 1 / 9

# A way through a node: its value, then what fills its slots: a relation or a
# single attribute, and the index of a description.
Option = tuple[Value, str | None, int | None]


class OptionSpace:
  """Lists the ways through a node on one scene, and remembers the lists."""

  def __init__(self, table: SceneTable, rng: random.Random):
    self.table = table
    self._rng = rng
    self._cache = {}
    self._matching = [
      a & b & c & d
      for a, b, c, d in product(
        *[
          (table.everything, *[table.having[name][v] for v in ATTRIBUTES[name]])
          for name in DESCRIPTION
        ]
      )
    ]
    self._present = [i for i, found in enumerate(self._matching) if found]

  def options(self, node: Node, values: list[Value]) -> list[Option]:
    """Lists a node's options, given the values of the earlier nodes."""
    inputs = tuple(values[i] for i in node.inputs)
    key = (node.function, inputs, node.empty)
    if key not in self._cache:
      self._cache[key] = self._list(node, inputs)
    return self._cache[key]

  def _list(self, node: Node, inputs: tuple[Value, ...]) -> list[Option]:
    name = node.function
    if name in SHORT_FORMS:
      key = (name, inputs)
      if key not in self._cache:
        relates, ending = SHORT_FORMS[name]
        listing = self._related if relates else self._filtered
        self._cache[key] = listing(inputs[0], ending)
      if not any(node.empty):
        return self._cache[key]
      fitting = _fitting(node.empty)
      return [o for o in self._cache[key] if o[2] in fitting]
    function = FUNCTIONS[name]
    if node.slots:
      domain = RELATIONS if name == "relate" else ATTRIBUTES[name[7:]]
      return [(function(self.table, *inputs, v), v, None) for v in domain]
    try:
      return [(function(self.table, *inputs), None, None)]
    except InvalidProgramError:
      return []

  def _filtered(self, objects: int, ending: str) -> list[Option]:
    """Describes parts of a set; also, as CLEVR does, what may not be there."""
    start = 1 if ending == "" else 0  # "filter" has to name something
    named = self._present[start:]
    found = [(self._matching[d] & objects, None, d) for d in named]
    if ending == "unique":
      return _finish(found, ending)
    extra = (
      len(found)
      if ending == "exist"
      else sum(s.bit_count() == 1 for s, _, _ in found)
    )
    span = len(DESCRIPTIONS) - start
    for _ in range(extra):
      d = start + int(span * self._rng.random())
      found.append((self._matching[d] & objects, None, d))
    return _finish(found, ending)

  def _related(self, anchor: int, ending: str) -> list[Option]:
    """Describes what stands left, right, … of an object."""
    telling, idle = [], []
    for relation in RELATIONS:
      side = self.table.related[relation][anchor]
      for d in self._present:
        matching = self._matching[d]
        found = matching & side
        if found == matching:
          idle.append((found, relation, d))
        elif found or ending in ("count", "exist"):
          telling.append((found, relation, d))
    if ending == "unique":
      telling = [o for o in telling if o[0].bit_count() == 1]
      idle = [o for o in idle if o[0].bit_count() == 1]
    wanted = round(len(telling) * _IDLE_RELATIONS)
    return _finish(telling + list(_draw(idle, self._rng, wanted)), ending)


def find_instance(
  space: OptionSpace,
  template: Template,
  allowed: set[Value],
  rng: random.Random,
) -> tuple[Value, list[Option]] | None:
  """Fills a template's slots at random.

  Args:
    space: The scene.
    template: The template.
    allowed: The answers that may be given.
    rng: The source of choices.

  Returns:
    The answer and the option taken at each node, or None where no instance
    satisfies everything.
  """
  nodes = template.nodes
  last = len(nodes) - 1
  values: list[Value] = [None] * len(nodes)
  taken: list[Option] = [None] * len(nodes)
  failed = set()
  targets = None  # the objects whose attribute is an allowed answer
  if nodes[last].function.startswith("query_"):
    attribute = space.table.value_of[nodes[last].function[6:]]
    targets = {i for i, value in enumerate(attribute) if value in allowed}
    if not targets:
      return None

  def extend(j: int) -> bool:
    node = nodes[j]
    for option in _draw(space.options(node, values), rng):
      value = option[0]
      if j == last and value not in allowed:
        continue
      if targets is not None and j == last - 1 and value not in targets:
        continue
      if any(values[i] == value for i in node.differs):
        continue
      values[j] = value
      taken[j] = option
      if j == last:
        if not template.has_relate or not is_degenerate(
          build_program(template, taken), space.table
        ):
          return True
        continue
      state = (j, *[values[i] for i in node.live])
      if state not in failed:
        if extend(j + 1):
          return True
        failed.add(state)
    return False

  return (values[last], taken) if extend(0) else None


def build_program(template: Template, taken: list[Option]) -> list[dict]:
  """Spells out an instance as a program in the layout of the released data."""
  program = []
  position = []  # of each template node in the program

  def add(function: str, inputs: list[int], *value_inputs: str) -> int:
    program.append(
      {
        "function": function,
        "inputs": inputs,
        "value_inputs": list(value_inputs),
      }
    )
    return len(program) - 1

  for node, (_, word, description) in zip(template.nodes, taken, strict=True):
    inputs = [position[i] for i in node.inputs]
    if node.function not in SHORT_FORMS:
      at = add(node.function, inputs, *([] if word is None else [word]))
    else:
      relates, ending = SHORT_FORMS[node.function]
      at = add("relate", inputs, word) if relates else inputs[0]
      for name, value in zip(
        DESCRIPTION, DESCRIPTIONS[description], strict=True
      ):
        if value is not None:
          at = add(f"filter_{name}", [at], value)
      if ending:
        at = add(ending, [at])
    position.append(at)
  return program


def _finish(found: list[tuple], ending: str) -> list[Option]:
  """Applies a short form's last function to sets of objects."""
  if ending == "unique":
    return [
      (s.bit_length() - 1, w, d) for s, w, d in found if s.bit_count() == 1
    ]
  if ending == "count":
    return [(s.bit_count(), w, d) for s, w, d in found]
  if ending == "exist":
    return [(s != 0, w, d) for s, w, d in found]
  return found


@functools.cache
def _fitting(empty: tuple[bool, ...]) -> frozenset[int]:
  """Descriptions that name none of the attributes marked in `empty`."""
  return frozenset(
    i
    for i, words in enumerate(DESCRIPTIONS)
    if not any(e and w for e, w in zip(empty, words, strict=True))
  )


def _draw(items: list, rng: random.Random, most: int | None = None) -> Iterator:
  """Yields items in random order, shuffling no more than is asked for."""
  items = items.copy()
  stop = 0 if most is None else max(0, len(items) - most)
  for left in range(len(items), stop, -1):
    k = int(left * rng.random())
    items[k], items[left - 1] = items[left - 1], items[k]
    yield items[left - 1]
