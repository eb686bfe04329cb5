"""From the numbers of a split back to what they stand for, for people."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from rn_jax.data.dataset import Dataset
from rn_jax.data.states import attribute_values
from rn_jax.host.atomic import replacing


def spell(
  vocabulary: dict[str, dict[str, int]], question: np.ndarray, length: int
) -> str:
  """Returns a question in words, as the network reads them.

  Args:
    vocabulary: See Dataset.
    question: [T] word indices.
    length: How many of them count.
  """
  words = {index: word for word, index in vocabulary["questions"].items()}
  return " ".join(words[int(index)] for index in question[:length])


def write_scene(dataset: Dataset, scene: int, stem: Path) -> Path:
  """Writes a scene as `launch.py --mode=ask` reads it.

  Args:
    dataset: A split.
    scene: Its row in the split's scenes.
    stem: Path of the file but for its suffix.

  Returns:
    The file: STEM.png from pixels, STEM.json from states.
  """
  path = stem.with_suffix(".png" if "image" in dataset.scenes else ".json")
  with replacing(path) as temporary:
    if "image" in dataset.scenes:
      picture = Image.fromarray(np.asarray(dataset.scenes["image"][scene]))
      picture.save(temporary, format="PNG")
    else:
      rows = np.asarray(dataset.scenes["objects"][scene])
      objects = [_object(row) for row in rows[rows.any(-1)]]
      temporary.write_text(json.dumps({"objects": objects}, indent=2) + "\n")
  return path


def _object(row: np.ndarray) -> dict:
  place = [round(float(x), 4) for x in row[:3]]
  return attribute_values(row) | {"3d_coords": place}
