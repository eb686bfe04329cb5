"""Writes the annotations file of a split: in parts, and resumable."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from data_prep.annotation.coco import Size, annotations_of, categories
from data_prep.annotation.reading import path_of
from data_prep.conversion.properties import one_world
from data_prep.rendering.camera import FRAME
from data_prep.world import World
from rn_jax.data.clevr_json import SourceError, read_elements, read_info
from rn_jax.host.atomic import replacing
from rn_jax.host.parts import Parts
from rn_jax.host.paths import place
from rn_jax.host.pool import Pool, make_parts, pool_of
from rn_jax.host.progress import progress_bar

# Goes up whenever the same scenes would get other annotations.
VERSION = 1

_SCENES_PER_PART = 100
_KEPT = ("image_index", "image_filename", "objects", "camera", "properties")


def annotate_split(
  clevr_dir: str | os.PathLike,
  split: str,
  output_dir: str | os.PathLike | None = None,
  *,
  size: Size = FRAME,
  frame: Size = FRAME,
  pool: Pool | None = None,
  overwrite: bool = False,
) -> Path:
  """Annotates pictures of the scenes of a CLEVR folder.

  Args:
    clevr_dir: Folder with `scenes/CLEVR_<split>_scenes.json`.
    split: Name of the split.
    output_dir: Where `annotations/` goes; by default, `clevr_dir`.
    size: Width and height of the pictures, in pixels.
    frame: Width and height of the pictures that the scenes were made for.
    pool: Who makes the parts; None: processes, one per core.
    overwrite: Replace annotations of other scenes or of another size.

  Returns:
    The file; one that was made of the same scenes is reused.

  Raises:
    SourceError: The scenes file is missing or damaged, or a scene of it.
    FileExistsError: There are annotations of other scenes or of another size.
  """
  scenes_path = place(clevr_dir) / "scenes" / f"CLEVR_{split}_scenes.json"
  path = path_of(output_dir or clevr_dir, split)
  digest = hashlib.sha256()
  scenes, world = _read_scenes(scenes_path, digest)
  info = {
    "description": "Objects in pictures of CLEVR scenes",
    "split": split,
    "version": VERSION,
    "scenes_sha256": digest.hexdigest(),
    "size": list(size),
    "frame": list(frame),
  }
  if path.exists():
    if read_info(path) == info:
      return path
    if not overwrite:
      raise FileExistsError(
        f"{path} is of other scenes or of pictures of another size (see its"
        ' "info"); choose another output_dir, or remove it'
      )
  parts = Parts(path.parent / f".annotate-{split}", info)
  starts = range(0, len(scenes), _SCENES_PER_PART)
  items = [(k, scenes[a : a + _SCENES_PER_PART]) for k, a in enumerate(starts)]
  made = make_parts(
    parts,
    _make,
    items,
    pool or pool_of(None),
    shared=(str(scenes_path), size, frame),
    in_order=True,
  )
  images = [_image_of(json.loads(scene), size) for scene in scenes]
  path.parent.mkdir(parents=True, exist_ok=True)
  with (
    replacing(path) as temporary,
    open(temporary, "w", encoding="utf-8") as file,
    progress_bar(
      total=len(items), unit=" parts", desc=f"{split} annotations"
    ) as progress,
  ):
    head = {"info": info, "licenses": [], "categories": categories(world)}
    file.write(json.dumps(head)[:-1] + ',\n"images": [\n')
    file.write(",\n".join(map(json.dumps, images)))
    file.write('\n],\n"annotations": [')
    number = 0
    for _, content in made:
      for text in json.loads(content):
        number += 1
        comma = "," if number > 1 else ""
        file.write(f'{comma}\n{{"id": {number}, {text[1:]}')
      progress.update()
    file.write("\n]}\n")
  parts.remove()
  return path


def _read_scenes(path: Path, digest) -> tuple[list[str], World]:
  """Returns of each scene what annotations need, as JSON; and their world."""
  scenes, known, properties = [], set(), set()
  for i, scene in enumerate(read_elements(path, "scenes", digest)):
    index, name = scene.get("image_index"), scene.get("image_filename")
    if type(index) is not int or not isinstance(name, str) or index in known:
      raise SourceError(
        f"{path}: scene {i} must have an image_filename, and an image_index of "
        "its own"
      )
    known.add(index)
    scenes.append(json.dumps({k: scene[k] for k in _KEPT if k in scene}))
    properties.add(json.dumps(scene.get("properties")))
  return scenes, one_world(properties, path)


def _image_of(scene: dict, size: Size) -> dict:
  return {
    "id": scene["image_index"],
    "file_name": scene["image_filename"],
    "width": size[0],
    "height": size[1],
  }


def _make(
  path: str, size: Size, frame: Size, scenes: Sequence[str]
) -> tuple[bytes, dict[str, int]]:
  try:
    texts = [
      json.dumps(annotation)
      for text in scenes
      for annotation in annotations_of(json.loads(text), size, frame)
    ]
  except ValueError as error:
    raise SourceError(f"{path}: {error}") from error
  counts = {"annotated scenes": len(scenes), "annotations": len(texts)}
  return json.dumps(texts).encode(), counts
