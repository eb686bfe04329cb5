"""Lists the ways through a node of a question template on one scene.

The many descriptions of a scene's objects fit the same few sets of objects,
and the search looks at nothing else. So descriptions are listed by what they
fit, and the ways through a node by the value they lead to: a handful in place
of hundreds. Sets of descriptions are integers, as sets of objects are: bit i
stands for DESCRIPTIONS[i].
"""

import functools
import random
from collections.abc import Sequence
from itertools import product, starmap
from typing import NamedTuple

from data_prep.language.programs import FUNCTIONS, SceneTable, Value
from data_prep.language.templates import SHORT_FORMS, Description, Node
from rn_jax.clevr import ATTRIBUTES, RELATIONS


@functools.cache
def all_descriptions(*known: tuple[str, ...]) -> tuple[Description, ...]:
  """All descriptions; the first names nothing.

  Args:
    *known: The values of each of Description's attributes.
  """
  return tuple(starmap(Description, product(*[(None, *k) for k in known])))


DESCRIPTIONS = all_descriptions(*[ATTRIBUTES[a] for a in Description._fields])

# Fillings that are equally likely: the weight of each, their word, and the set
# of their descriptions. Plain tuples, for there are very many.
Phrases = tuple[float, str | None, int]

# Relations that say nothing ("the cube left of…" where there is one cube): so
# many are kept for each one that does, as CLEVR keeps them.
_IDLE_RELATIONS = 1 / 9


class Filling(NamedTuple):
  """What fills a node's slots.

  Attributes:
    word: The relation or single attribute; None: the node takes none.
    description: Names nothing where the node takes none.
  """

  word: str | None
  description: Description


class Way(NamedTuple):
  """A filling's word, and the objects that its description fits, if any."""

  word: str | None
  matching: int | None


class Option(NamedTuple):
  """The fillings of a node that lead to one value.

  Attributes:
    weight: How likely they are together.
    value: What the node yields.
    way: None where they differ, as they may where `node.exact` is False.
    phrases: The fillings.
  """

  weight: float
  value: Value
  way: Way | None
  phrases: list[Phrases]


class _Group(NamedTuple):
  """Fillings with one weight each.

  Attributes:
    weight: Of each filling.
    ways: (value, word, matching) → the descriptions that lead there; `matching`
      is None where it does not matter.
  """

  weight: float
  ways: dict[tuple[Value, str | None, int | None], int]


class OptionSpace:
  """Lists the options of nodes on one scene, and remembers the lists.

  Attributes:
    table: The scene.
    descriptions: Of objects in its world.
  """

  def __init__(self, table: SceneTable, rng: random.Random):
    self.table = table
    self._rng = rng
    self._cache = {}
    fitting = {}  # set of objects → the descriptions that fit just these
    having, bit = table.having, 1
    domains = [
      (table.everything, *having[name].values()) for name in Description._fields
    ]
    self._known = tuple(tuple(having[name]) for name in Description._fields)
    self.descriptions = all_descriptions(*self._known)
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
      values = RELATIONS if name == "relate" else self.table.having[name[7:]]
      function = functools.partial(FUNCTIONS[name], self.table, start)
      return [Option(1, function(v), Way(v, None), [(1, v, 1)]) for v in values]
    key = (name, start, node.exact)
    if key not in self._cache:
      relates, ending = SHORT_FORMS[name]
      listing = self._related if relates else self._filtered
      self._cache[key] = listing(start, ending, node.exact)
    permitted = _permitted(node.empty, self._known)
    found = {}  # (value, way) → weight, phrases
    for weight, ways in self._cache[key]:
      for (value, word, matching), descriptions in ways.items():
        descriptions &= permitted
        if descriptions:
          key = value, ((word, matching) if node.exact else None)
          entry = found.get(key)
          if entry is None:
            entry = found[key] = [0, []]
          entry[0] += weight * descriptions.bit_count()
          entry[1].append((weight, word, descriptions))
    return [
      Option(weight, value, way and Way(*way), phrases)
      for (value, way), (weight, phrases) in found.items()
    ]

  def _filtered(self, start: int, ending: str, exact: bool) -> list[_Group]:
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
    if ending == "unique" or not count:
      return [_Group(1, ways)]
    # As many descriptions again are drawn from all there are.
    extra = count / (len(self.descriptions) - (ending == ""))
    key = (finish(0, ending), None, 0 if exact else None)
    return [_Group(1 + extra, ways), _Group(extra, {key: self._absent})]

  def _related(self, anchor: int, ending: str, exact: bool) -> list[_Group]:
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
    return [_Group(1, telling), *self._some(idle, wanted)]

  def _some(self, ways: dict, wanted: float) -> list[_Group]:
    """Keeps so many ways at random: of those that are alike, a number."""
    total = sum(descriptions.bit_count() for descriptions in ways.values())
    step = min(1, wanted / total) if total else 0
    at = self._rng.random()
    kept = []
    for key, descriptions in ways.items():
      number = descriptions.bit_count()
      start, at = int(at), at + step * number
      if int(at) > start:
        weight = (int(at) - start) / number
        kept.append(_Group(weight, {key: descriptions}))
    return kept


def finish(objects: int, ending: str) -> Value:
  """Applies the last function of a short form; `unique` trusts the caller."""
  if ending == "count":
    return objects.bit_count()
  if ending == "exist":
    return objects != 0
  return objects.bit_length() - 1 if ending == "unique" else objects


def draw_filling(
  option: Option,
  rng: random.Random,
  descriptions_of: Sequence[Description] = DESCRIPTIONS,
) -> Filling:
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
  lowest = (descriptions & -descriptions).bit_length() - 1
  return Filling(word, descriptions_of[lowest])


@functools.cache
def _permitted(
  empty: frozenset[str], known: tuple[tuple[str, ...], ...]
) -> int:
  """The descriptions that name none of some attributes."""
  return sum(
    1 << i
    for i, description in enumerate(all_descriptions(*known))
    if empty.isdisjoint(named(description))
  )


def named(description: Description) -> dict[str, str]:
  """The attributes that a description names, in the order of filters."""
  words = description._asdict().items()
  return {name: word for name, word in words if word is not None}
