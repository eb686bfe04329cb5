"""The pictures of described images: from their files, or from records."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from rn_jax.data import records
from rn_jax.data.images import opened, to_rgb
from rn_jax.data.states import state_description
from rn_jax.plots.contact_sheet import draw_from_above
from rn_jax.retrieval.describe.features import Features

# As the pictures of CLEVR are; an enlarged picture of a page shows all of it.
WIDTH = 480
_INCHES, _DPI = 2.0, 100  # of a scene drawn from above


def load_pictures(
  features: Features,
  rows: Sequence[int],
  images: str | os.PathLike | None = None,
) -> dict[int, Image.Image]:
  """Loads the pictures of some rows of a features file.

  Args:
    features: Its metadata say where the images are.
    rows: Which.
    images: Folder of the image files, in place of what the metadata say. They
      are looked for by their names in the features file, with and without the
      folders in them.

  Returns:
    RGB pictures by row, at most WIDTH wide. Scenes of records without images
    are drawn from above.

  Raises:
    ValueError: A picture is not readable, or nobody says where they are.
    OSError: A picture cannot be opened.
  """
  source = features.metadata.get("source", {})
  names = {int(row): str(features.image_filename[row]) for row in rows}
  folder = images or source.get("folder")
  if folder:
    return {
      row: _open(_find(Path(folder), name)) for row, name in names.items()
    }
  if "records" not in source:
    raise ValueError(
      "the features do not say where their images are; name the folder: "
      "--images=FOLDER"
    )
  rows_of = {name: row for row, name in names.items()}
  found = {}
  for scene in records.read_scenes(source["records"], source["split"]):
    name = scene["image_filename"]
    row = rows_of.get(name)
    if row is None:
      continue
    if scene["image"] is None:
      found[row] = _draw(scene)
    else:
      found[row] = _open(scene["image"], f"{source['records']}: {name}")
    if len(found) == len(names):
      return found
  missing = next(name for row, name in names.items() if row not in found)
  raise ValueError(
    f"{source['records']}: split {source['split']!r} has no {missing}; it is "
    "not what the features were made of"
  )


def _find(folder: Path, name: str) -> Path:
  path = folder / name
  return path if path.exists() else folder / Path(name).name


def _open(file: Path | bytes, name: str | None = None) -> Image.Image:
  with opened(file, name) as image:
    picture = to_rgb(image, 0)
  if picture.width > WIDTH:
    height = max(1, round(picture.height * WIDTH / picture.width))
    picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
  return picture


def _draw(scene: dict) -> Image.Image:
  count = len(scene["objects"]["3d_coords"])
  rows = state_description(scene["objects"], count, scene["image_filename"])
  figure = Figure((_INCHES, _INCHES), dpi=_DPI)
  canvas = FigureCanvasAgg(figure)
  axes = figure.add_axes((0, 0, 1, 1))
  draw_from_above(axes, rows)
  for note in axes.texts:
    note.remove()
  axes.set(ylim=(-5.1, 5.1))
  axes.set_axis_off()
  canvas.draw()
  return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
