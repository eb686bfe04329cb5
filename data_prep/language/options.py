"""Lists the ways through a node of a question template on one scene.

The many descriptions of a scene's objects fit the same few sets of objects,
and the search looks at nothing else. So descriptions are listed by what they
fit, and the ways through a node by the value they lead to: a handful in place
of hundreds. Sets of descriptions are integers, as sets of objects are.
"""

import functools
import random
from itertools import product
from typing import NamedTuple

from data_prep.language.programs import FUNCTIONS, SceneTable, Value
from data_prep.language.templates import DESCRIPTION, SHORT_FORMS, Node
from rn_jax.clevr import ATTRIBUTES, RELATIONS

# All descriptions (size, colour, material, shape); None: not named. The first
# names nothing.
DESCRIPTIONS = tuple(product(*[(None, *ATTRIBUTES[a]) for a in DESCRIPTION]))

# Relations that say nothing ("the cube left of…" where there is one cube): so
# many are kept for each one that does, as CLEVR keeps them.
_IDLE_RELATIONS = 1 / 9

# Fillings of a node's slots that are equally likely: the weight of each, their
# relation or single attribute, and the set of their descriptions (1 where the
# node takes none).
Phrases = tuple[float, str | None, int]

# What fills a node's slots: a relation or single attribute, and the index of a
# description.
Filling = tuple[str | None, int | None]


class Option(NamedTuple):
  """The ways through a node that lead to one value.

  Attributes:
    weight: How likely they are together.
    value: What the node yields.
    way: The relation or single attribute, and the objects that the description
      fits; None where they differ, as they may where `node.exact` is False.
    phrases: What fills the slots.
  """

  weight: float
  value: Value
  way: tuple[str | None, int | None] | None
  phrases: list[Phrases]


class OptionSpace:
  """Lists the options of nodes on one scene, and remembers the lists."""

  def __init__(self, table: SceneTable, rng: random.Random):
    self.table = table
    self._rng = rng
    self._cache = {}
    fitting = {}  # set of objects → the descriptions that fit just these
    having, bit = table.having, 1
    domains = [
      (table.everything, *[having[name][v] for v in ATTRIBUTES[name]])
      for name in DESCRIPTION
    ]
    for size, color in product(*domains[:2]):
      start = size & color
      for material in domains[2]:
        rest = start & material
        for shape in domains[3]:
          objects = rest & shape
          fitting[objects] = fitting.get(objects, 0) | bit
          bit <<= 1
    self._absent = fitting.pop(0, 0)
    self._fitting = list(fitting.items())

  def options(self, node: Node, start: Value) -> list[Option]:
    """Lists the options of a node that has slots.

    Args:
      node: The node.
      start: The value of the node before it.
    """
    key = (node.function, start, node.empty, node.exact)
    options = self._cache.get(key)
    if options is None:
      options = self._cache[key] = self._list(node, start)
    return options

  def _list(self, node: Node, start: Value) -> list[Option]:
    name = node.function
    if name not in SHORT_FORMS:
      values = RELATIONS if name == "relate" else ATTRIBUTES[name[7:]]
      function = functools.partial(FUNCTIONS[name], self.table, start)
      return [Option(1, function(v), (v, None), [(1, v, 1)]) for v in values]
    key = (name, start, node.exact)
    if key not in self._cache:
      relates, ending = SHORT_FORMS[name]
      listing = self._related if relates else self._filtered
      self._cache[key] = listing(start, ending, node.exact)
    permitted = _permitted(node.empty)
    weights, phrases = {}, {}
    for weight, ways in self._cache[key]:
      for (value, word, matching), descriptions in ways.items():
        descriptions &= permitted
        if descriptions:
          key = value, ((word, matching) if node.exact else None)
          if key not in weights:
            weights[key], phrases[key] = 0, []
          weights[key] += weight * descriptions.bit_count()
          phrases[key].append((weight, word, descriptions))
    return [Option(weights[key], *key, phrases[key]) for key in weights]

  def _filtered(self, start: int, ending: str, exact: bool) -> list:
    """Describes parts of a set; also, as CLEVR does, what may not be there."""
    ways, count = {}, 0
    for matching, descriptions in self._fitting:
      if ending == "":  # a filter has to name something
        descriptions &= ~1
      objects = matching & start
      is_one = objects != 0 and objects & (objects - 1) == 0
      if is_one or ending != "unique":
        value = finish(objects, ending)
        key = (value, None, matching if exact else None)
        ways[key] = ways.get(key, 0) | descriptions
      if is_one or ending == "exist":
        count += descriptions.bit_count()
    if ending == "unique":
      return [(1, ways)]
    if not count:
      return [(1, ways)]
    # As many descriptions again are drawn from all there are.
    extra = count / (len(DESCRIPTIONS) - (ending == ""))
    key = (finish(0, ending), None, 0 if exact else None)
    return [(1 + extra, ways), (extra, {key: self._absent})]

  def _related(self, anchor: int, ending: str, exact: bool) -> list:
    """Describes what stands left, right, … of an object."""
    telling, idle = {}, {}
    for relation in RELATIONS:
      side = self.table.related[relation][anchor]
      for matching, descriptions in self._fitting:
        objects = matching & side
        if ending == "unique":
          if not objects or objects & (objects - 1):
            continue
          value = objects.bit_length() - 1
        elif objects or ending:
          value = finish(objects, ending)
        else:
          continue
        key = (value, relation, matching if exact else None)
        ways = idle if objects == matching else telling
        ways[key] = ways.get(key, 0) | descriptions
    wanted = _IDLE_RELATIONS * sum(d.bit_count() for d in telling.values())
    return [(1, telling), *self._some(idle, wanted)]

  def _some(self, ways: dict, wanted: float) -> list:
    """Keeps so many ways at random: of those that are alike, a number."""
    total = sum(descriptions.bit_count() for descriptions in ways.values())
    step = min(1, wanted / total) if total else 0
    at = self._rng.random()
    kept = []
    for key, descriptions in ways.items():
      number = descriptions.bit_count()
      start, at = int(at), at + step * number
      if int(at) > start:
        kept.append(((int(at) - start) / number, {key: descriptions}))
    return kept


def finish(objects: int, ending: str) -> Value:
  """Applies the last function of a short form; `unique` trusts the caller."""
  if ending == "count":
    return objects.bit_count()
  if ending == "exist":
    return objects != 0
  return objects.bit_length() - 1 if ending == "unique" else objects


def draw_filling(option: Option, rng: random.Random) -> Filling:
  """Draws what fills the slots of a node, for one of its options."""
  at = rng.random() * option.weight
  for phrases in option.phrases:
    weight, word, descriptions = phrases
    number = descriptions.bit_count()
    if at < weight * number:
      break
    at -= weight * number
  for _ in range(min(int(at / weight), number - 1)):
    descriptions &= descriptions - 1  # drops the lowest
  return word, (descriptions & -descriptions).bit_length() - 1


@functools.cache
def _permitted(empty: tuple[bool, ...]) -> int:
  """Descriptions that name none of the attributes marked in `empty`."""
  return sum(
    1 << i
    for i, words in enumerate(DESCRIPTIONS)
    if not any(e and w for e, w in zip(empty, words, strict=True))
  )
