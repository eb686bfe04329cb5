"""Reads a folder of question templates and synonyms, and checks it."""

import hashlib
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path

from data_prep.language.programs import FUNCTIONS
from data_prep.language.templates import (
  SHORT_FORMS,
  SLOT,
  Description,
  Node,
  Relation,
  Template,
)
from rn_jax.clevr import ANSWER_FUNCTIONS, ATTRIBUTES
from rn_jax.host.paths import local_path

OWN_LANGUAGE = Path(__file__).parent

_SLOT_LETTERS = {
  "size": "Z",
  "color": "C",
  "material": "M",
  "shape": "S",
  "relation": "R",
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
  folder = Path(local_path(folder or OWN_LANGUAGE))
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
  contents = {name: _read_json(path) for name, path in paths.items()}
  starts = itertools.accumulate(map(len, contents.values()), initial=0)
  start_of = dict(zip(contents, starts, strict=False))  # the last is the end
  templates = []
  digest = hashlib.sha256(synonyms_path.read_bytes())
  for name in dict.fromkeys(names or paths):
    digest.update(f"{name} {start_of[name]} ".encode())
    digest.update(paths[name].read_bytes())
    for family, raw in enumerate(contents[name]):
      try:
        templates.append(
          parse_template(raw, f"{name}.json", family, start_of[name] + family)
        )
      except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
          f"{paths[name]}, template {family}: {error!r}"
        ) from error
  return Language(
    templates=tuple(templates),
    synonyms=_read_json(synonyms_path),
    fingerprint=digest.hexdigest()[:16],
  )


def parse_template(
  raw: dict, filename: str, family: int, index: int
) -> Template:
  """Checks a template and prepares it for the search.

  Args:
    raw: The template as in the JSON.
    filename: The file it comes from.
    family: Its position there.
    index: Its position in all files.

  Raises:
    ValueError: Something in it makes no sense; the message says what.
  """
  types = {p["name"]: p["type"].lower() for p in raw["params"]}
  for slot, kind in types.items():
    if not re.fullmatch(rf"<{_SLOT_LETTERS[kind]}\d*>", slot):
      raise ValueError(f"slot {slot} is no name for a {kind}")
  functions = [node["type"] for node in raw["nodes"]]
  inputs = [tuple(node["inputs"]) for node in raw["nodes"]]
  empty, pairs = set(), []
  for constraint in raw["constraints"]:
    kind, args = constraint["type"], constraint["params"]
    if kind == "NULL":
      empty.update(args)
    elif kind == "OUT_NEQ":
      pairs.append(sorted(args))
    else:
      raise ValueError(f"constraint {kind} is neither NULL nor OUT_NEQ")
  relations = _relations(functions, inputs) if "relate" in functions else ()
  redone = {j for relation in relations for j in relation.later}
  values_tell = True
  filled = []
  nodes = []
  for j, function in enumerate(functions):
    slots = tuple(raw["nodes"][j].get("side_inputs", ()))
    _check_node(j, function, inputs[j], [types[slot] for slot in slots])
    filled.extend(slots)
    needed = {
      i for k in {*range(j + 1, len(inputs)), *redone} for i in inputs[k]
    }
    needed.update(a for a, b in pairs if b > j)
    exact = bool(slots) and (
      j in redone or (bool(relations) and function.startswith("relate_"))
    )
    values_tell = values_tell and not exact
    nodes.append(
      Node(
        function=function,
        inputs=inputs[j],
        slots=slots,
        empty=frozenset(types[slot] for slot in slots if slot in empty),
        differs=tuple(a for a, b in pairs if b == j),
        live=tuple(sorted(i for i in needed if i <= j))
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
  starts = [0, *(j for j, node in enumerate(nodes) if node.slots), len(nodes)]
  return Template(
    filename=filename,
    family=family,
    index=index,
    nodes=tuple(nodes),
    texts=tuple(raw["text"]),
    stages=tuple(tuple(range(*run)) for run in itertools.pairwise(starts)),
    relations=relations,
  )


def _relations(
  functions: list[str], inputs: list[tuple[int, ...]]
) -> tuple[Relation, ...]:
  result = []
  for j, function in enumerate(functions):
    if function.startswith("relate"):
      later = []
      for k in range(j + 1, len(functions)):
        if not {j, *later}.isdisjoint(inputs[k]):
          later.append(k)
      result.append(Relation(j, tuple(later)))
  return tuple(result)


def _check_node(
  position: int, function: str, inputs: tuple[int, ...], slot_types: list[str]
) -> None:
  if function not in FUNCTIONS and function not in SHORT_FORMS:
    raise ValueError(f"node {position}: no function {function!r}")
  if len(inputs) != _ARITY.get(function, 1) or any(
    not 0 <= i < position for i in inputs
  ):
    raise ValueError(f"node {position}: bad inputs {[*inputs]}")
  start, _, attribute = function.partition("_")
  expected = ["relation"] if start == "relate" else []
  if function in SHORT_FORMS:
    expected += Description._fields
  elif start == "filter":
    expected = [attribute]
  if slot_types != expected:
    raise ValueError(f"node {position}: {function} takes {expected}")


def _read_json(path: Path):
  try:
    return json.loads(path.read_text(encoding="utf-8-sig"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{path} is no JSON: {error}") from error
