"""Reads the annotations file of a split, without JAX."""

import os
from pathlib import Path

from rn_jax.data.clevr_json import (
  SourceError,
  read_elements,
  read_value,
)
from rn_jax.host.paths import place


def path_of(clevr_dir: str | os.PathLike, split: str) -> Path:
  """Returns where the annotations of a split are."""
  name = f"CLEVR_{split}_annotations.json"
  return place(clevr_dir) / "annotations" / name


def read_annotations(
  path: Path, scenes_sha256: str, digest
) -> dict[int, list[dict]]:
  """Reads an annotations file for records: lists by image_index.

  Args:
    path: File of `annotate_split`.
    scenes_sha256: Hash of the scenes file that it must belong to.
    digest: Hash object that is fed the whole file.

  Returns:
    Of each object that is seen: "object", its position in the scene; "bbox",
    left, upper, right and lower edge in units of the picture's width and
    height; "mask" and "mask_size", COCO's counts, and height and width in
    pixels.

  Raises:
    SourceError: The file is missing, damaged, or of other scenes.
  """
  if not path.exists():
    raise SourceError(
      f"{path}: no such file; make it with data_prep.render --annotations"
    )
  info = read_value(path, "info")
  if not isinstance(info, dict) or info.get("scenes_sha256") != scenes_sha256:
    raise SourceError(
      f"{path}: not made by data_prep, or of other scenes; remove it, and make "
      "it with data_prep.render --annotations"
    )
  found = {}
  for i, item in enumerate(read_elements(path, "annotations", digest)):
    try:
      height, width = item["segmentation"]["size"]
      left, upper, wide, high = item["bbox"]
      box = (left, upper, left + wide, upper + high)
      kept = {
        "object": int(item["object"]),
        "bbox": [
          edge / side
          for edge, side in zip(box, (width, height) * 2, strict=True)
        ],
        "mask": str(item["segmentation"]["counts"]),
        "mask_size": [int(height), int(width)],
      }
      found.setdefault(item["image_id"], []).append(kept)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
      raise SourceError(
        f"{path}: annotation {i} is damaged ({error!r}); remove the file, and "
        "make it with data_prep.render --annotations"
      ) from error
  return found
