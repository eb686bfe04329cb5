"""Reads question templates.

The format is that of CLEVR's generator: a folder with `templates/*.json` and
`synonyms.json`. A template has `params` (typed slots such as <Z>), `nodes` (a
program whose side inputs are slots), `constraints` (NULL: the slot stays
empty; OUT_NEQ: two nodes must differ) and `text` (phrasings; parts in brackets
may be left out). Besides CLEVR's functions a template uses short forms such as
`relate_filter_unique`, which stand for a chain of them.
"""

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from data_prep.language.programs import FUNCTIONS
from rn_jax.clevr import ANSWER_FUNCTIONS, ATTRIBUTES

OWN_LANGUAGE = Path(__file__).parent

# The order in which descriptions and filters name attributes.
DESCRIPTION = ("size", "color", "material", "shape")

SLOT = re.compile(r"<[A-Z]\d*>")
_SLOT_LETTERS = {
  "size": "Z",
  "color": "C",
  "material": "M",
  "shape": "S",
  "relation": "R",
}
# Short form → whether it relates before it filters, and the function after.
SHORT_FORMS = {
  f"{start}filter{'_' * bool(end)}{end}": (bool(start), end)
  for start in ("", "relate_")
  for end in ("", "unique", "count", "exist")
}
_ARITY = {
  "scene": 0,
  "union": 2,
  "intersect": 2,
  "equal_integer": 2,
  "less_than": 2,
  "greater_than": 2,
  **{f"equal_{name}": 2 for name in ATTRIBUTES},
}


@dataclass(frozen=True)
class Node:
  """A step of a template.

  Attributes:
    function: A function of CLEVR's or a short form.
    inputs: Earlier nodes.
    slots: Names of the slots that are filled here.
    empty: For each attribute of DESCRIPTION, whether it must stay unnamed.
    differs: Earlier nodes whose value this one's must not equal.
    live: Nodes up to this one whose values decide what can come after it;
      None: more than values does.
    exact: Whether its words matter besides its value, to what is left of the
      answer when a relation is left out.
  """

  function: str
  inputs: tuple[int, ...]
  slots: tuple[str, ...]
  empty: tuple[bool, ...]
  differs: tuple[int, ...]
  live: tuple[int, ...] | None
  exact: bool


@dataclass(frozen=True)
class Template:
  """A question family.

  Attributes:
    filename: The file it comes from.
    family: Its position in that file.
    nodes: The program.
    texts: Its phrasings.
    stages: The nodes in runs; each but the first begins with one that has
      slots, and the others have none.
    relations: Nodes that relate, each with the later nodes that depend on it,
      in families that relate without filtering. Only such families are checked
      for relations that do not matter.
  """

  filename: str
  family: int
  nodes: tuple[Node, ...]
  texts: tuple[str, ...]
  stages: tuple[tuple[int, ...], ...]
  relations: tuple[tuple[int, tuple[int, ...]], ...]

  @property
  def answers(self) -> tuple:
    """Everything the last node can yield in principle."""
    last = self.nodes[-1].function
    if last.startswith("query_"):
      return ATTRIBUTES[last.removeprefix("query_")]
    return tuple(range(11)) if last.endswith("count") else (True, False)

  @functools.cached_property
  def possible(self) -> frozenset:
    """The answers that the template's constraints leave possible."""
    last = self.nodes[-1]
    if last.function.startswith("equal_"):
      a, b = sorted(last.inputs)
      if a in self.nodes[b].differs:  # what must differ is never equal
        return frozenset({False})
    return frozenset(self.answers)


@dataclass(frozen=True)
class Language:
  """Templates and synonyms; `fingerprint` changes when they do."""

  templates: tuple[Template, ...]
  synonyms: dict[str, list[str]]
  fingerprint: str


def load_language(
  folder: Path | str | None = None, names: tuple[str, ...] | None = None
) -> Language:
  """Reads a language folder.

  Args:
    folder: Has `templates/*.json` and `synonyms.json`; None: the project's.
    names: Template files to use, without their ending; None: all.

  Raises:
    FileNotFoundError: A file is missing.
    ValueError: A template is malformed; the message names it.
  """
  folder = Path(folder or OWN_LANGUAGE)
  synonyms_path = folder / "synonyms.json"
  paths = {p.stem: p for p in sorted(folder.glob("templates/*.json"))}
  if not paths or not synonyms_path.exists():
    raise FileNotFoundError(
      f"{folder} is no language folder: it needs synonyms.json and "
      "templates/*.json"
    )
  for name in names or ():
    if name not in paths:
      raise FileNotFoundError(
        f"{folder}/templates has no {name}.json; it has {', '.join(paths)}"
      )
  templates = []
  digest = hashlib.sha256(synonyms_path.read_bytes())
  for name in dict.fromkeys(names or paths):
    digest.update(name.encode() + paths[name].read_bytes())
    for family, raw in enumerate(_read_json(paths[name])):
      try:
        templates.append(parse_template(raw, f"{name}.json", family))
      except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
          f"{paths[name]}, template {family}: {error!r}"
        ) from error
  return Language(
    templates=tuple(templates),
    synonyms=_read_json(synonyms_path),
    fingerprint=digest.hexdigest()[:16],
  )


def parse_template(raw: dict, filename: str, family: int) -> Template:
  """Checks a template and prepares it for the search.

  Raises:
    ValueError: Something in it makes no sense; the message says what.
  """
  types = {p["name"]: p["type"].lower() for p in raw["params"]}
  for slot, kind in types.items():
    if not re.fullmatch(rf"<{_SLOT_LETTERS[kind]}\d*>", slot):
      raise ValueError(f"slot {slot} is no name for a {kind}")
  functions = [node["type"] for node in raw["nodes"]]
  empty, pairs = set(), []
  for constraint in raw["constraints"]:
    kind, args = constraint["type"], constraint["params"]
    if kind == "NULL":
      empty.update(args)
    elif kind == "OUT_NEQ":
      pairs.append(tuple(sorted(args)))
    else:
      raise ValueError(f"constraint {kind} is neither NULL nor OUT_NEQ")
  relations = _relations(raw["nodes"]) if "relate" in functions else ()
  redone = {j for _, later in relations for j in later}
  values_tell = True
  filled = []
  nodes = []
  for j, node in enumerate(raw["nodes"]):
    slots = tuple(node.get("side_inputs", ()))
    _check_node(j, node, [types[slot] for slot in slots])
    filled.extend(slots)
    needed = {i for later in raw["nodes"][j + 1 :] for i in later["inputs"]}
    needed.update(a for a, b in pairs if b > j)
    needed.update(i for k in redone for i in raw["nodes"][k]["inputs"])
    exact = bool(slots) and (
      j in redone or (bool(relations) and functions[j].startswith("relate_"))
    )
    values_tell = values_tell and not exact
    nodes.append(
      Node(
        function=node["type"],
        inputs=tuple(node["inputs"]),
        slots=slots,
        empty=tuple(slot in empty for slot in slots[-4:]),
        differs=tuple(a for a, b in pairs if b == j),
        live=tuple(i for i in sorted(needed) if i <= j)
        if values_tell
        else None,
        exact=exact,
      )
    )
  if len(filled) != len(set(filled)):
    raise ValueError("a slot is filled by two nodes")
  if functions[-1] not in ANSWER_FUNCTIONS and not functions[-1].endswith(
    ("_count", "_exist")
  ):
    raise ValueError(f"{functions[-1]} does not answer a question")
  unknown = {s for t in raw["text"] for s in SLOT.findall(t)} - set(filled)
  if unknown:
    raise ValueError(f"the text has slots that no node fills: {unknown}")
  return Template(
    filename=filename,
    family=family,
    nodes=tuple(nodes),
    texts=tuple(raw["text"]),
    stages=_stages(nodes),
    relations=relations,
  )


def _stages(nodes: list[Node]) -> tuple[tuple[int, ...], ...]:
  starts = [0, *(j for j, node in enumerate(nodes) if node.slots)]
  ends = [*starts[1:], len(nodes)]
  return tuple(
    tuple(range(*bounds)) for bounds in zip(starts, ends, strict=True)
  )


def _relations(nodes: list[dict]) -> tuple[tuple[int, tuple[int, ...]], ...]:
  """Lists the nodes that relate, each with the later ones it has effect on."""
  result = []
  for j, node in enumerate(nodes):
    if node["type"].startswith("relate"):
      later = []
      for k in range(j + 1, len(nodes)):
        if not {j, *later}.isdisjoint(nodes[k]["inputs"]):
          later.append(k)
      result.append((j, tuple(later)))
  return tuple(result)


def _check_node(position: int, node: dict, slot_types: list[str]) -> None:
  function = node["type"]
  if function not in FUNCTIONS and function not in SHORT_FORMS:
    raise ValueError(f"node {position}: no function {function!r}")
  if len(node["inputs"]) != _ARITY.get(function, 1) or any(
    not 0 <= i < position for i in node["inputs"]
  ):
    raise ValueError(f"node {position}: bad inputs {node['inputs']}")
  if function in SHORT_FORMS:
    expected = list(DESCRIPTION)
    if function.startswith("relate_"):
      expected.insert(0, "relation")
  elif function == "relate":
    expected = ["relation"]
  elif function.startswith("filter_"):
    expected = [function.removeprefix("filter_")]
  else:
    expected = []
  if slot_types != expected:
    raise ValueError(f"node {position}: {function} takes {expected}")


def _read_json(path: Path):
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except json.JSONDecodeError as error:
    raise ValueError(f"{path} is no JSON: {error}") from error
