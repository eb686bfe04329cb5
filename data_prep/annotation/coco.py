"""COCO's annotations of the objects in a picture of a scene.

Beside COCO's own fields an annotation has

    object: the object's position in its scene;
    attributes: its color, material, shape and size;
    depth: mean depth of what is seen of it, in world units;
    amodal_bbox, amodal_area, amodal_segmentation: of all of it, also of what
      other objects hide.

Objects that show no pixel are left out.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

from data_prep.annotation import rle
from data_prep.annotation.silhouettes import box_of, silhouettes
from data_prep.rendering.camera import FRAME
from data_prep.world import World, world_of
from rn_jax.clevr import ATTRIBUTES

Size = tuple[int, int]  # width and height in pixels


def categories(world: World) -> list[dict]:
  """Returns COCO's categories: the shapes, numbered from 1."""
  return [
    {"id": i, "name": shape, "supercategory": "object"}
    for i, shape in enumerate(world.shapes, 1)
  ]


def annotations_of(
  scene: dict, size: Size = FRAME, frame: Size = FRAME
) -> Iterator[dict]:
  """Yields the annotations of a scene's objects, but for their numbers.

  Args:
    scene: A scene in CLEVR's JSON.
    size: Width and height of the picture, in pixels.
    frame: Width and height of the pictures that the scene was made for.

  Raises:
    ValueError: The scene is not as CLEVR describes scenes; it is named.
  """
  try:
    found = silhouettes(scene, size, frame)
  except ValueError as error:
    raise ValueError(
      f"{scene.get('image_filename', 'a scene')}: {error}"
    ) from error
  shapes = list(world_of(scene).shapes)
  for i, (item, (visible, amodal, depth)) in enumerate(
    zip(scene["objects"], found, strict=True)
  ):
    if visible.any():
      yield {
        "image_id": scene["image_index"],
        "category_id": shapes.index(item["shape"]) + 1,
        "iscrowd": 0,
        **_area(visible),
        "depth": round(depth, 4),
        "object": i,
        "attributes": {name: item[name] for name in ATTRIBUTES},
        **{f"amodal_{key}": value for key, value in _area(amodal).items()},
      }


def _area(mask: Bool[np.ndarray, "H W"]) -> dict:
  left, upper, right, lower = box_of(mask)
  return {
    "bbox": [left, upper, right - left, lower - upper],
    "area": int(mask.sum()),
    "segmentation": {"size": list(mask.shape), "counts": rle.encode(mask)},
  }
