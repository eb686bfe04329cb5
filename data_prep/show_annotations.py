"""Draws a sheet of annotated pictures: masks, boxes, and what is hidden.

    python -m data_prep.show_annotations --clevr_dir=DIR --split=val --output=F

shows the first pictures of the split. Each object has a colour of its own: what
is seen of it is filled, all of it is outlined, and around what is seen is its
box.
"""

import itertools
import os
from pathlib import Path

import numpy as np
from absl import flags
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from data_prep.annotation import rle
from data_prep.annotation.reading import path_of
from rn_jax.data.clevr_json import SourceError, read_elements
from rn_jax.data.images import read_image
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.paths import local_path

_HUES = np.array(
  [
    *((230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200)),
    *((245, 130, 48), (145, 30, 180), (70, 240, 240), (240, 50, 230)),
    *((210, 245, 60), (0, 128, 128)),
  ],
  np.uint8,
)
_FILL = 0.45  # share of the colour in what is filled


def show_annotations(
  clevr_dir: str | os.PathLike,
  split: str,
  output: str | os.PathLike,
  *,
  num_images: int = 6,
  columns: int = 3,
) -> Path:
  """Draws the sheet; returns its path.

  Args:
    clevr_dir: Folder with `images/` and `annotations/`.
    split: Name of the split.
    output: PNG file to write.
    num_images: How many pictures, from the first.
    columns: How many in a row.

  Raises:
    SourceError: The annotations are missing or damaged.
    ImageError: A picture is.
  """
  path = path_of(clevr_dir, split)
  if not path.exists():
    raise SourceError(
      f"{path}: no such file; make it with data_prep.render --annotations"
    )
  images = list(itertools.islice(read_elements(path, "images"), num_images))
  of_image = {image["id"]: [] for image in images}
  for item in read_elements(path, "annotations"):
    if item["image_id"] in of_image:
      of_image[item["image_id"]].append(item)
  folder = Path(local_path(clevr_dir)) / "images" / split
  try:
    drawn = [
      _overlay(read_image(folder / image["file_name"]), of_image[image["id"]])
      for image in images
    ]
  except SourceError as error:
    raise SourceError(f"{path}: {error}") from None
  except (KeyError, TypeError, IndexError) as error:
    raise SourceError(
      f"{path}: an annotation is damaged, or none of data_prep ({error!r}); "
      "remove the file, and make it with data_prep.render --annotations"
    ) from error
  height, width, _ = drawn[0].shape
  rows = -(-len(drawn) // columns)
  sheet = Image.new("RGB", (columns * width, rows * height), "white")
  for i, pixels in enumerate(drawn):
    place = (i % columns * width, i // columns * height)
    sheet.paste(Image.fromarray(pixels), place)
  output = Path(local_path(output))
  output.parent.mkdir(parents=True, exist_ok=True)
  with replacing(output) as temporary:
    sheet.save(temporary, format="PNG", optimize=True)
  return output


def _overlay(
  pixels: UInt8[np.ndarray, "H W 3"], annotations: list[dict]
) -> UInt8[np.ndarray, "H W 3"]:
  canvas = pixels.astype(float)
  for item in annotations:
    height, width = item["segmentation"]["size"]
    if (height, width) != pixels.shape[:2]:
      raise SourceError(
        f"the annotations are of pictures of {width}x{height}, and there are "
        f"some of {pixels.shape[1]}x{pixels.shape[0]}; draw or annotate them "
        "with that size"
      )
    hue = _HUES[item["object"] % len(_HUES)]
    seen, whole = (
      rle.decode(item[name]["counts"], *item[name]["size"])
      for name in ("segmentation", "amodal_segmentation")
    )
    canvas[seen] = (1 - _FILL) * canvas[seen] + _FILL * hue
    canvas[_outline(whole)] = hue
  picture = Image.fromarray(canvas.astype(np.uint8))
  draw = ImageDraw.Draw(picture)
  for item in annotations:
    left, upper, width, height = item["bbox"]
    edges = (left, upper, left + width - 1, upper + height - 1)
    draw.rectangle(edges, outline=tuple(_HUES[item["object"] % len(_HUES)]))
  return np.asarray(picture)


def _outline(mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
  """The pixels of a mask that have a neighbour outside of it."""
  padded = np.pad(mask, 1, mode="edge")
  inner = padded[:-2, 1:-1] & padded[2:, 1:-1]
  inner &= padded[1:-1, :-2] & padded[1:-1, 2:]
  return mask & ~inner


def _main(**options) -> None:
  print(f"Sheet: {show_annotations(**options)}")


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "clevr_dir",
      None,
      "CLEVR folder, with images/ and annotations/.",
      required=True,
    ),
    flags.DEFINE_string(
      "split", None, "Split to show, such as val.", required=True
    ),
    cli.path_flag("output", None, "PNG file to write.", required=True),
    flags.DEFINE_integer("num_images", 6, "How many pictures.", lower_bound=1),
    flags.DEFINE_integer("columns", 3, "How many in a row.", lower_bound=1),
  )
