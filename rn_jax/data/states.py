"""State descriptions: a scene's objects as rows of numbers."""

import json
import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import ml_collections
import numpy as np
from absl import logging

from rn_jax.clevr import ATTRIBUTES
from rn_jax.data.records import RecordError
from rn_jax.host.paths import local_path

_LARGEST = float(np.finfo(np.float32).max)


class UnknownAttributeError(ValueError):
  """An object lacks an attribute, or has a value that CLEVR does not have."""


def object_arrays(
  objects: Sequence[Mapping],
  values: Mapping[str, Sequence[str]] = ATTRIBUTES,
) -> dict[str, np.ndarray]:
  """Returns objects of CLEVR's JSON as the records hold them.

  Args:
    objects: The objects.
    values: Of each attribute, in the order of their numbers.

  Returns:
    "3d_coords" [N, 3] float32, and of each attribute the indices of its values
    there, [N] int64.

  Raises:
    UnknownAttributeError: An object lacks something, or has an unknown value.
    ValueError: One is damaged. Both say which object, and how.
  """
  if not isinstance(objects, Sequence) or isinstance(objects, str):
    raise ValueError("objects is no list")
  for number, item in enumerate(objects):
    if not isinstance(item, Mapping):
      raise ValueError(f"object {number} is no JSON object")
  # First what would be damage, then what is merely not CLEVR's.
  coordinates = numbers(objects, "3d_coords", 3)
  for number, item in enumerate(objects):
    for name, known in values.items():
      value = item.get(name)
      if not isinstance(value, str) or value not in known:
        raise UnknownAttributeError(
          f"object {number}: {name} is {reprlib.repr(value)}, none of "
          f"{', '.join(known)}"
        )
  return {"3d_coords": coordinates} | {
    name: np.array([known.index(o[name]) for o in objects], np.int64)
    for name, known in values.items()
  }


def numbers(
  objects: Sequence[Mapping], name: str, count: int | None = None
) -> np.ndarray:
  """Returns a field of objects that is a number, or a list of `count`.

  Returns:
    [N, count] float32; [N] without `count`.

  Raises:
    ValueError: Says of which object it is anything else, or not finite.
  """
  rows = []
  for number, item in enumerate(objects):
    if name not in item:
      raise UnknownAttributeError(f"object {number} has no {name}")
    value = item[name]
    row = [value] if count is None else value
    if (
      not isinstance(row, Sequence)
      or len(row) != (count or 1)
      or not all(type(x) in (int, float) and abs(x) <= _LARGEST for x in row)
    ):
      wanted = "a finite number" if count is None else f"{count} finite numbers"
      raise ValueError(
        f"object {number}: {name} is {reprlib.repr(value)}, not {wanted}"
      )
    rows.append(row)
  return np.array(rows, np.float32).reshape(
    (len(objects),) if count is None else (len(objects), count)
  )


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


def read_states(
  scene: Mapping, config: ml_collections.ConfigDict, where: str
) -> np.ndarray:
  """Returns the rows of a scene of records, with boxes if they are read.

  Args:
    scene: Of the records; its "objects" and "image_filename".
    config: The `data` part of a config.
    where: Where the scene is from, to be named in an error.

  Returns:
    [max_objects, 7] float32, or [max_objects, 11]; see state_arrays.

  Raises:
    RecordError: The records do not hold that.
  """
  objects, where = scene["objects"], f"{where} scene {scene['image_filename']}"
  rows = state_description(objects, config.max_objects, where)
  if not config.boxes:
    return rows
  boxes = boxes_of_records(objects, config.max_objects, where)
  return np.concatenate([rows, boxes], -1)


def warn_of_boxes(config: ml_collections.ConfigDict) -> None:
  """Says so where a network reads the boxes of records, and there are none.

  Args:
    config: The `data` part of a config.
  """
  if config.boxes:
    logging.warning(
      "The network learned with the boxes of records (config.data.boxes). Of a "
      "scene of its own they are computed from the places of the objects, and "
      "answers may be worse"
    )


def boxes_of_records(
  arrays: Mapping[str, np.ndarray], max_objects: int, where: str
) -> np.ndarray:
  """Returns the boxes of a scene of annotated records.

  Args:
    arrays: Of the scene's objects; "bbox" as in records.
    max_objects: Rows of the result.
    where: What to name in an error.

  Returns:
    [max_objects, 4] float32: left, upper, right and lower edge in units of the
    picture's width and height; zeros where an object shows no pixel, and
    behind the objects.

  Raises:
    RecordError: The records are not annotated, or a box of them is damaged.
  """
  if "bbox" not in arrays:
    raise RecordError(
      f"{where} has no boxes: convert with --annotations, or set "
      "--config.data.boxes=False"
    )
  count = len(arrays["3d_coords"])
  if arrays["bbox"].size != 4 * count:
    raise RecordError(
      f"{where} has {arrays['bbox'].size} edges of boxes for {count} objects; "
      "convert it again"
    )
  found = np.asarray(arrays["bbox"], np.float32).reshape(count, 4)
  extent = found[:, 2:] - found[:, :2]
  if not np.all((extent > 0).all(-1) | ~found.any(-1)):
    raise RecordError(
      f"{where} has a box without extent, {found.tolist()}; convert it again"
    )
  boxes = np.zeros((max_objects, 4), np.float32)
  boxes[:count] = found
  return boxes


def read_objects(
  scene: object, max_objects: int, where: str = "the scene"
) -> np.ndarray:
  """Reads a scene of CLEVR's scenes file, or a JSON file of one scene.

  Args:
    scene: A mapping, or the path of a file; anything else is refused.
    max_objects: Rows of the result.
    where: What errors call a scene that is no file.

  Returns:
    The rows of its state description, [max_objects, 7] float32.

  Raises:
    ValueError: It is no scene as CLEVR describes it, or too large.
    OSError: The file cannot be opened.
  """
  if isinstance(scene, str | os.PathLike):
    where = str(scene)
    try:
      scene = json.loads(
        Path(local_path(scene)).read_text(encoding="utf-8-sig")
      )
    except (ValueError, RecursionError) as error:
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
  except ValueError as error:
    raise ValueError(
      f"{where}: an object is not as CLEVR describes it ({error})"
    ) from error
  return state_description(arrays, max_objects, where)


def attribute_values(row: np.ndarray) -> dict[str, str]:
  """Returns the attributes of a row [7] of a state description, by name."""
  return {
    name: values[int(index) - 1]
    for (name, values), index in zip(ATTRIBUTES.items(), row[3:], strict=True)
  }


def state_arrays(objects: np.ndarray) -> dict[str, np.ndarray]:
  """Returns what networks read of state descriptions [S, N, 7].

  With boxes behind them, [S, N, 11], also `boxes` [S, N, 4].
  """
  states, boxes = np.split(objects, [3 + len(ATTRIBUTES)], -1)
  arrays = {"objects": states, "object_mask": np.any(states, -1)}
  return arrays | ({"boxes": boxes} if boxes.shape[-1] else {})
