"""What objects of a data set can be: CLEVR's, or those of a properties file.

The file has the form of properties.json of CLEVR's generator,

    {"shapes": {"cube": "SmoothCube_v2", "pyramid": "Cone"},
     "colors": {"red": [173, 35, 35]},
     "materials": {"rubber": "Rubber", "metal": "MyMetal"},
     "sizes": {"large": 0.7, "small": 0.35}}

where shapes and materials name models: SOLIDS and FINISHES below. A scene of
such a data set holds the same under "properties", so that whatever reads it,
draws it or asks about it knows what its words mean.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rn_jax import clevr
from rn_jax.host.paths import local_path

# Models of shapes: CLEVR's three, and two more. The values are what the ray
# tracer calls them.
SOLIDS = {
  "Sphere": "sphere",
  "SmoothCube_v2": "cube",
  "SmoothCylinder": "cylinder",
  "Cone": "cone",
  "Capsule": "capsule",
}
FINISHES = {"Rubber": "rubber", "MyMetal": "metal"}
# Smaller ones hardly show 200 pixels, and of larger ones ten do not fit.
MIN_RADIUS, MAX_RADIUS = 0.25, 0.75

_PLURAL = {name: f"{name}s" for name in clevr.ATTRIBUTES}
# What a question says besides the values of attributes.
_TAKEN = {"yes", "no", "thing", "object", "things", "objects", *clevr.RELATIONS}
_NAME = re.compile(r"[a-z][a-z_-]*")


class World(NamedTuple):
  """The values of attributes, and what they mean, in the order of choice.

  Attributes:
    shapes: Name -> a value of SOLIDS.
    colors: Name -> RGB from 0 to 255, taken as linear.
    materials: Name -> "rubber" or "metal".
    sizes: Name -> half side or radius, in world units.
  """

  shapes: Mapping[str, str]
  colors: Mapping[str, tuple[float, float, float]]
  materials: Mapping[str, str]
  sizes: Mapping[str, float]

  @property
  def values(self) -> dict[str, tuple[str, ...]]:
    """The names of an attribute's values, in the order of clevr.ATTRIBUTES."""
    return {
      name: tuple(getattr(self, field)) for name, field in _PLURAL.items()
    }

  @property
  def new_values(self) -> dict[str, list[str]]:
    """Those that CLEVR does not have, of the attributes with such."""
    new = {
      name: [v for v in values if v not in clevr.ATTRIBUTES[name]]
      for name, values in self.values.items()
    }
    return {name: values for name, values in new.items() if values}

  def to_json(self) -> dict:
    """The content of the properties file."""
    model = {solid: name for name, solid in (SOLIDS | FINISHES).items()}
    return {
      "shapes": {name: model[solid] for name, solid in self.shapes.items()},
      "colors": {name: list(color) for name, color in self.colors.items()},
      "materials": {name: model[m] for name, m in self.materials.items()},
      "sizes": dict(self.sizes),
    }


CLEVR = World(
  shapes={name: name for name in clevr.SHAPES},
  colors=dict(clevr.RGB),
  materials={name: name for name in clevr.MATERIALS},
  sizes=dict(clevr.RADIUS),
)


def read_world(path: str | os.PathLike | None) -> World:
  """Reads a properties file; None: CLEVR's.

  Raises:
    OSError: It cannot be opened.
    ValueError: It is malformed; the message names it.
  """
  if path is None:
    return CLEVR
  try:
    content = json.loads(Path(local_path(path)).read_text("utf-8-sig"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{path} is no JSON: {error}") from error
  try:
    return parse_world(content)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


def world_of(scene: Mapping[str, Any]) -> World:
  """The world of a scene: its "properties", or CLEVR.

  Raises:
    ValueError: They are malformed.
  """
  content = scene.get("properties")
  return CLEVR if content is None else parse_world(content)


def parse_world(content: object) -> World:
  """Checks the content of a properties file.

  Raises:
    ValueError: It is malformed; the message says where and how.
  """
  if not isinstance(content, Mapping) or set(content) != set(_PLURAL.values()):
    raise ValueError(
      f"properties must be a JSON object with {', '.join(_PLURAL.values())}"
    )
  readers = {"shape": _solid, "color": _color, "material": _finish}
  readers["size"] = _radius
  tables, taken = {}, set(_TAKEN)
  for name, plural in _PLURAL.items():
    table = content[plural]
    if not isinstance(table, Mapping) or not table:
      raise ValueError(f"{plural} must be a JSON object with a name at least")
    others = {v for n, vs in clevr.ATTRIBUTES.items() if n != name for v in vs}
    for value in table:
      if not _NAME.fullmatch(value) or value in taken | others:
        raise ValueError(
          f"{plural}: {value!r} cannot be a name: a name is one word in small "
          "letters that stands for nothing else"
        )
      taken.add(value)
    tables[plural] = {v: readers[name](v, table[v]) for v in table}
  world = World(**tables)
  return CLEVR if world == CLEVR else world


def check_words(world: World, synonyms: Mapping[str, Sequence[str]]) -> None:
  """Checks that a language has no name of a world for something else.

  Args:
    world: What objects can be.
    synonyms: Value or relation → the words for it.

  Raises:
    ValueError: A name is a word for another value, or for no value at all.
  """
  names = [name for values in world.values.values() for name in values]
  absent = {v for vs in clevr.ATTRIBUTES.values() for v in vs} - {*names}
  for other, words in synonyms.items():
    for name in names:
      if name != other and name in words and other not in absent:
        raise ValueError(
          f"properties: {name!r} is a word for {other!r} in the questions, "
          "which could be read in two ways; choose another name"
        )


def _solid(name: str, model: object) -> str:
  return _model(f"shapes: {name}", model, SOLIDS)


def _finish(name: str, model: object) -> str:
  return _model(f"materials: {name}", model, FINISHES)


def _model(where: str, model: object, known: Mapping[str, str]) -> str:
  if not isinstance(model, str) or model not in known:
    raise ValueError(
      f"{where} is {model!r}; what can be drawn is {', '.join(known)}"
    )
  return known[model]


def _color(name: str, color: object) -> tuple[float, float, float]:
  if (
    not isinstance(color, list | tuple)
    or len(color) != 3
    or not all(type(c) in (int, float) and 0 <= c <= 255 for c in color)
  ):
    raise ValueError(
      f"colors: {name} is {color!r}, must be three numbers from 0 to 255"
    )
  red, green, blue = color
  return red, green, blue


def _radius(name: str, size: object) -> float:
  if type(size) not in (int, float) or not MIN_RADIUS <= size <= MAX_RADIUS:
    raise ValueError(
      f"sizes: {name} is {size!r}, must be a number from {MIN_RADIUS} to "
      f"{MAX_RADIUS}"
    )
  return float(size)
