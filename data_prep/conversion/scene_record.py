"""Turns a scene of CLEVR, with its image, into the content of its record."""

import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_prep.conversion.clevr_json import SourceError
from data_prep.conversion.clevr_question import Question
from data_prep.conversion.clevr_source import Source
from rn_jax.clevr import RELATIONS
from rn_jax.data.images import ImageError, opened, to_rgb, upright
from rn_jax.data.states import object_arrays


def encode_image(image: Image.Image, image_size: int) -> bytes:
  """Returns the content of a PNG file of `to_rgb(image, image_size)`."""
  content = io.BytesIO()
  to_rgb(image, image_size).save(content, "PNG")
  return content.getvalue()


def _read_image(path: str, image_size: int) -> bytes:
  content = Path(path).read_bytes()
  try:
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
  except ImageError as error:
    raise SourceError(f"{error}; copy or make it again") from error


class Drawing(NamedTuple):
  """Makes the images of scenes, where there are no files to read.

  Attributes:
    made_from: All that the images depend on besides the scenes.
    draw: Yields the contents of PNG files, for some sources in their order.
  """

  made_from: dict
  draw: Callable[[Iterable[Source]], Iterator[bytes]]


def build_drawn(sources: Iterable[Source], drawing: Drawing) -> Iterator[dict]:
  """Yields the record contents of scenes, with images that are drawn."""
  # What draws takes many at a time, so it runs ahead of the records.
  ahead, sources = itertools.tee(sources)
  for source, image in zip(sources, drawing.draw(ahead), strict=True):
    yield build_scene(source, image=image)


def build_scene(
  source: Source, image_size: int = 128, image: bytes | None = None
) -> dict:
  """Returns the record content of a scene (`rn_jax.data.records.encode_scene`).

  Args:
    source: The scene, from `load_split`.
    image_size: Width and height of the image in pixels, 0 keeps the size.
    image: Content of a PNG file, to use instead of the source's.

  Raises:
    SourceError: The image is unreadable or the scene incomplete.
  """
  if image is None and source.image_path:
    image = _read_image(source.image_path, image_size)
  scene = {"objects": [], "relationships": dict.fromkeys(RELATIONS, ())}
  if source.scene:
    scene = json.loads(source.scene)
  try:
    objects = _object_arrays(scene["objects"])
    relationships = {r: scene["relationships"][r] for r in RELATIONS}
    _check_relationships(relationships, len(scene["objects"]))
  except (KeyError, TypeError, ValueError) as error:
    raise SourceError(
      f"scene {source.image_index} ({source.image_filename}): its objects or"
      f" relationships are not those of CLEVR ({error!r})"
    ) from None
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
  }


def _check_relationships(relationships: dict, num_objects: int) -> None:
  for name, rows in relationships.items():
    if len(rows) != num_objects:
      raise ValueError(f"{name}: {len(rows)} rows, {num_objects} objects")
    for i, row in enumerate(rows):
      if not set(row) <= set(range(num_objects)) - {i}:
        raise ValueError(f"{name} of object {i}: {row}")


def _object_arrays(objects: list[dict]) -> dict[str, np.ndarray]:
  arrays = object_arrays(objects)
  pixels = np.array([o["pixel_coords"] for o in objects], np.float32)
  arrays["pixel_coords"] = pixels.reshape(-1, 3)
  arrays["rotation"] = np.array([o["rotation"] for o in objects], np.float32)
  return arrays
