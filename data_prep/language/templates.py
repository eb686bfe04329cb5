"""Question templates, and how a text comes of one.

The format is that of CLEVR's generator: a folder with `templates/*.json` and
`synonyms.json`. A template has `params` (typed slots such as <Z>), `nodes` (a
program whose side inputs are slots), `constraints` (NULL: the slot stays
empty; OUT_NEQ: two nodes must differ) and `text` (phrasings; parts in brackets
may be left out). Besides CLEVR's functions a template uses short forms such as
`relate_filter_unique`, which stand for a chain of them.

An example, template 3 of one_hop.json. Its slots are <Z> <C> <M> <S> (size,
color, material, shape), <R> (relation) and <Z2> <C2> <M2> <S2>; as it asks for
a color, NULL keeps <C2> empty. One of its phrasings and its nodes are

    What color is the <Z2> <C2> <M2> <S2> [visible] <R> the <Z> <C> <M> <S>?

    0 scene
    1 filter_unique         inputs 0   slots <Z> <C> <M> <S>
    2 relate_filter_unique  inputs 1   slots <R> <Z2> <C2> <M2> <S2>
    3 query_color           inputs 2

`reading.py` makes a `Template` with four `Node`s of it. In a scene with a red
cube (object 0), a large blue sphere to its right (object 1) and a large green
cylinder to its left (object 2), `search.py` chooses for nodes 1 and 2 one
`Option` each of those that `options.py` lists: those with the values 0 and 1,
the objects. Options become fillings, and the result is

    Instance("blue", [
      None,
      Filling(None, Description(None, "red", None, "cube")),
      Filling("right", Description("large", None, None, None)),
      None,
    ])

Spelled out, its program is scene, filter_color red, filter_shape cube, unique,
relate right, filter_size large, unique, query_color. `questions.py` draws the
phrasing, whether to keep "visible", and synonyms: "What color is the big thing
right of the red block?"
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rn_jax.clevr import ATTRIBUTES, MAX_OBJECTS

SLOT = re.compile(r"<[A-Z]\d*>")


class Description(NamedTuple):
  """The words that name each attribute; None: it is not named.

  The fields are in the order in which filters follow on one another.
  """

  size: str | None
  color: str | None
  material: str | None
  shape: str | None


class ShortForm(NamedTuple):
  """What a chain of functions around filters does besides filtering.

  Attributes:
    relates: Whether it begins with `relate`.
    ending: The function after the filters, or "".
  """

  relates: bool
  ending: str


SHORT_FORMS = {
  f"{start}filter{'_' * bool(end)}{end}": ShortForm(bool(start), end)
  for start in ("", "relate_")
  for end in ("", "unique", "count", "exist")
}


@dataclass(frozen=True)
class Node:
  """A step of a template.

  Attributes:
    function: A function of CLEVR's or a short form.
    inputs: Earlier nodes.
    slots: Names of the slots that are filled here.
    empty: The attributes that must stay unnamed.
    differs: Earlier nodes whose value this one's must not equal.
    live: Nodes up to this one whose values decide what can come after it;
      None: more than values does.
    exact: Whether its words matter besides its value, to what is left of the
      answer when a relation is left out.
  """

  function: str
  inputs: tuple[int, ...]
  slots: tuple[str, ...]
  empty: frozenset[str]
  differs: tuple[int, ...]
  live: tuple[int, ...] | None
  exact: bool


class Relation(NamedTuple):
  """A node that relates, and the later nodes that depend on it."""

  node: int
  later: tuple[int, ...]


@dataclass(frozen=True)
class Template:
  """A question family.

  Attributes:
    filename: The file it comes from.
    family: Its position in that file.
    index: Its position in all files of the folder, in the order of their names.
    nodes: The program.
    texts: Its phrasings.
    stages: The nodes in runs; each but the first begins with one that has
      slots, and the others have none.
    relations: In families that relate without filtering, every relation. Only
      such families are checked for relations that do not matter.
  """

  filename: str
  family: int
  index: int
  nodes: tuple[Node, ...]
  texts: tuple[str, ...]
  stages: tuple[tuple[int, ...], ...]
  relations: tuple[Relation, ...]

  def answers(self, known: Mapping[str, tuple[str, ...]] = ATTRIBUTES) -> tuple:
    """Everything the last node can yield in principle.

    Args:
      known: The values of each attribute.
    """
    last = self.nodes[-1].function
    if last.startswith("query_"):
      return known[last.removeprefix("query_")]
    if last.endswith("count"):
      return tuple(range(MAX_OBJECTS + 1))
    if len(known.get(last.removeprefix("equal_"), ())) == 1:
      return (True,)
    return (True, False)

  @functools.cached_property
  def impossible(self) -> frozenset:
    """The answers that the template's constraints rule out."""
    last = self.nodes[-1]
    if last.function.startswith("equal_"):
      a, b = sorted(last.inputs)
      if a in self.nodes[b].differs:  # what must differ is never equal
        return frozenset({True})
    return frozenset()
