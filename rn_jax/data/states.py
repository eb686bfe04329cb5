"""State descriptions: a scene's objects as rows of numbers."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rn_jax.clevr import ATTRIBUTES
from rn_jax.data.records import RecordError
from rn_jax.host.paths import local_path

_INDICES = {
  name: {value: i for i, value in enumerate(values)}
  for name, values in ATTRIBUTES.items()
}


def object_arrays(objects: Sequence[Mapping]) -> dict[str, np.ndarray]:
  """Returns objects of CLEVR's JSON as the records hold them.

  Returns:
    "3d_coords" [N, 3] float32, and of each attribute the indices of its values
    in rn_jax.clevr, [N] int64.

  Raises:
    KeyError, TypeError, ValueError: They are not as CLEVR describes them.
  """
  coordinates = np.array([o["3d_coords"] for o in objects], np.float32)
  return {"3d_coords": coordinates.reshape(-1, 3)} | {
    name: np.array([indices[o[name]] for o in objects], np.int64)
    for name, indices in _INDICES.items()
  }


def state_description(
  arrays: Mapping[str, np.ndarray], max_objects: int, where: str
) -> np.ndarray:
  """Returns the rows that networks read of a scene's `object_arrays`.

  Returns:
    [max_objects, 7] float32: x, y, z and the one-based attribute indices; rows
    of zeros behind.

  Raises:
    RecordError: There are no objects, or too many.
  """
  count = len(arrays["3d_coords"])
  if not 0 < count <= max_objects:
    raise RecordError(
      f"{where} has {count} objects; a network on state descriptions reads 1 "
      f"to {max_objects} (--config.data.max_objects)"
    )
  rows = np.zeros((max_objects, 3 + len(ATTRIBUTES)), np.float32)
  rows[:count, :3] = arrays["3d_coords"]
  for column, name in enumerate(ATTRIBUTES, start=3):
    rows[:count, column] = arrays[name] + 1
  return rows


def read_objects(
  scene: str | os.PathLike | Mapping, max_objects: int
) -> np.ndarray:
  """Reads a scene of CLEVR's scenes file, or a JSON file of one scene.

  Returns:
    The rows of its state description, [max_objects, 7] float32.

  Raises:
    ValueError: It is no scene as CLEVR describes it, or too large.
    OSError: The file cannot be opened.
  """
  where = "the scene"
  if isinstance(scene, str | os.PathLike):
    where = str(scene)
    try:
      scene = json.loads(Path(local_path(scene)).read_text(encoding="utf-8"))
    except ValueError as error:
      raise ValueError(
        f"{where}: not JSON; this network reads state descriptions: give a "
        "scene of CLEVR's scenes file"
      ) from error
  if not isinstance(scene, Mapping) or "objects" not in scene:
    raise ValueError(
      f"{where} has no 'objects'; this network reads state descriptions: give "
      "one scene of CLEVR's scenes file"
    )
  try:
    arrays = object_arrays(scene["objects"])
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f"{where}: an object is not as CLEVR describes it ({error!r})"
    ) from error
  return state_description(arrays, max_objects, where)


def state_arrays(objects: np.ndarray) -> dict[str, np.ndarray]:
  """Returns what networks read of state descriptions [S, N, 7]."""
  return {"objects": objects, "object_mask": objects.any(-1)}
