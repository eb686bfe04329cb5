"""Turns a scene of CLEVR, with its image, into the content of its record."""

import io
import itertools
import json
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_prep.annotation import rle
from data_prep.conversion.clevr_question import Question
from data_prep.conversion.clevr_source import Source
from data_prep.generation.scenes import RELATION_MARGIN
from data_prep.generation.scenes import relationships as scene_relationships
from rn_jax.clevr import ATTRIBUTES, DIRECTIONS, MAX_OBJECTS, RELATIONS
from rn_jax.data.clevr_json import SourceError
from rn_jax.data.images import (
  ImageError,
  opened,
  read_content,
  to_rgb,
  upright,
)
from rn_jax.data.states import UnknownAttributeError, numbers, object_arrays

Values = Mapping[str, Sequence[str]]  # of each attribute


def encode_image(image: Image.Image, image_size: int) -> bytes:
  """Returns the content of a PNG file of `to_rgb(image, image_size)`."""
  content = io.BytesIO()
  to_rgb(image, image_size).save(content, "PNG")
  return content.getvalue()


def _read_image(path: str, image_size: int) -> bytes:
  try:
    content = read_content(path)
    with opened(content, path) as image:
      turned = upright(image)  # decodes: a cut-off file fails here
      size = (image_size or image.width, image_size or image.height)
      if (
        turned is image
        and (image.format, image.mode, image.size) == ("PNG", "RGB", size)
        and content[24] == 8  # bits per color
      ):
        return content
      return encode_image(turned, image_size)
  except (ImageError, OSError) as error:
    raise SourceError(f"{error}; copy or make it again") from error


class Drawing(NamedTuple):
  """Makes the images of scenes, where there are no files to read.

  Attributes:
    made_from: All that the images depend on besides the scenes.
    draw: Yields the contents of PNG files, for some sources in their order.
  """

  made_from: dict
  draw: Callable[[Iterable[Source]], Iterator[bytes]]


def build_drawn(
  sources: Iterable[Source], drawing: Drawing, **options
) -> Iterator[dict]:
  """Yields the record contents of scenes, with images that are drawn.

  Args:
    sources: The scenes.
    drawing: Draws the images.
    **options: Of `build_scene`.
  """
  # What draws takes many at a time, so it runs ahead of the records.
  ahead, sources = itertools.tee(sources)
  for source, image in zip(sources, drawing.draw(ahead), strict=True):
    yield build_scene(source, image=image, **options)


def build_scene(
  source: Source,
  image_size: int = 128,
  image: bytes | None = None,
  annotations: bool = False,
  values: Values = ATTRIBUTES,
) -> dict:
  """Returns the record content of a scene (`rn_jax.data.records.encode_scene`).

  Beside it there are `oddities`, a list of the kinds in oddities.py.

  Args:
    source: The scene, from `load_split`.
    image_size: Width and height of the image in pixels, 0 keeps the size.
    image: Content of a PNG file, to use instead of the source's.
    annotations: Whether records have boxes and masks of objects.
    values: Of each attribute, in the order of their numbers.

  Where there is an image, and objects lack something or have unknown values,
  all of them are left out, which networks that read pixels do not need: the
  scene is counted as one of "unknown_objects".

  Raises:
    SourceError: The image is unreadable, or the scene is damaged or, without
      an image, incomplete or empty.
  """
  if image is None and source.image_path:
    image = _read_image(source.image_path, image_size)
  nothing = {"objects": [], "relationships": dict.fromkeys(RELATIONS, ())}
  scene = json.loads(source.scene) if source.scene else nothing
  try:
    objects, relationships, oddities = _read_scene(scene, values)
  except (KeyError, TypeError, ValueError) as error:
    reason = repr(error) if isinstance(error, KeyError) else str(error)
    problem = (
      f"{source.where} ({source.image_filename}): its objects or"
      f" relationships are not those of CLEVR ({reason})"
    )
    # A network that reads pixels needs neither.
    unknown = isinstance(error, KeyError | UnknownAttributeError)
    if image is None or not unknown:
      raise SourceError(problem) from None
    scene = nothing
    objects, relationships, _ = _read_scene(nothing, values)
    oddities = ["unknown_objects"]
  if image is None and not len(objects["rotation"]):
    raise SourceError(
      f"{source.where} ({source.image_filename}) has no objects, and without "
      "an image there is nothing to look at; leave it and its questions out"
    )
  if annotations:
    objects |= _annotation_arrays(
      scene.get("annotations", ()), len(objects["rotation"])
    )
  return {
    "image": image,
    "image_filename": source.image_filename,
    "image_index": source.image_index,
    "objects": objects,
    "relationships": relationships,
    "questions": {
      name: [getattr(question, name) for question in source.questions]
      for name in Question._fields
    },
    "oddities": oddities,
  }


def _read_scene(scene: dict, values: Values) -> tuple[dict, dict, list[str]]:
  """Returns objects and relationships of a scene as the records hold them.

  Behind them comes what is odd about them.

  Raises:
    KeyError, UnknownAttributeError: Something is missing, or has an unknown
      value.
    TypeError, ValueError: Something is damaged.
  """
  objects = _object_arrays(scene["objects"], values)
  coordinates = objects["3d_coords"].tolist()
  directions = _directions(scene.get("directions"))
  listed = scene["relationships"]
  if listed is None:
    listed = scene_relationships(coordinates, directions)
  relationships = {r: listed[r] for r in RELATIONS}
  _check_relationships(relationships, len(coordinates))
  oddities = []
  if _are_contradicted(relationships, coordinates, directions):
    oddities.append("contradicted_relations")
  if len(coordinates) > MAX_OBJECTS:
    oddities.append("many_objects")
  return objects, relationships, oddities


def _directions(given) -> dict:
  """Returns the unit vectors that a scene gives for relations, or CLEVR's."""
  if not given:
    return DIRECTIONS
  if not isinstance(given, dict):
    raise ValueError(f"directions is {reprlib.repr(given)}, no JSON object")
  for name in given.keys() & set(RELATIONS):
    try:
      numbers([given], name, 3)
    except ValueError:
      raise ValueError(
        f"directions: {name} is {reprlib.repr(given[name])}, not 3 finite"
        " numbers"
      ) from None
  return given


def _are_contradicted(
  relationships: dict, coordinates: list[list[float]], directions: dict
) -> bool:
  """Whether an object is listed on the one side and lies on the other.

  It is not where the two objects are nearly level: projects draw that line in
  different places.
  """
  for name in RELATIONS:
    if name in directions:
      dx, dy, _ = directions[name]
      along = [x * dx + y * dy for x, y, _ in coordinates]
      for origin, others in zip(along, relationships[name], strict=True):
        if any(along[other] - origin < -RELATION_MARGIN for other in others):
          return True
  return False


def _check_relationships(relationships: dict, num_objects: int) -> None:
  for name, rows in relationships.items():
    if not isinstance(rows, list | tuple):
      raise ValueError(f"{name} is {reprlib.repr(rows)}, no list")
    if len(rows) != num_objects:
      raise ValueError(f"{name}: {len(rows)} rows, {num_objects} objects")
    for i, row in enumerate(rows):
      if (
        not isinstance(row, list | tuple)
        or not all(type(other) is int for other in row)
        or not set(row) <= set(range(num_objects)) - {i}
        or len(set(row)) < len(row)
      ):
        raise ValueError(
          f"{name} of object {i}: {reprlib.repr(row)}, not other objects, each"
          " once"
        )


def _object_arrays(
  objects: list[dict], values: Values
) -> dict[str, np.ndarray]:
  arrays = object_arrays(objects, values)
  for name, count in (("pixel_coords", 3), ("rotation", None)):
    if all(name in item for item in objects):
      arrays[name] = numbers(objects, name, count)
    else:  # no network reads it
      shape = (len(objects),) if count is None else (len(objects), count)
      arrays[name] = np.full(shape, np.nan, np.float32)
  return arrays


def _annotation_arrays(annotations: Sequence[dict], count: int) -> dict:
  """Boxes and masks of objects; those of no pixels where nothing is seen."""
  seen = {item["object"]: item for item in annotations}
  size = annotations[0]["mask_size"] if annotations else [0, 0]
  nothing = {
    "bbox": [0.0] * 4,
    "mask": rle.encode(np.zeros(size, bool)),
    "mask_size": size,
  }
  items = [seen.get(i, nothing) for i in range(count)]
  return {
    "bbox": np.array([i["bbox"] for i in items], np.float32).reshape(-1, 4),
    "mask": [i["mask"] for i in items],
    "mask_size": np.array([i["mask_size"] for i in items], int).reshape(-1, 2),
  }
