"""A scene as the bytes of a record; records.py has the rest of the contract."""

import itertools

import numpy as np

from rn_jax.clevr import ATTRIBUTES, RELATIONS
from rn_jax.data.tfrecord import RecordError, decode_example, encode_example

_QUESTION_TEXTS = ("text", "family")
_QUESTION_NUMBERS = (
  *("answer", "question_index", "function", "question_type"),
  "program_length",
)


def _flatten(rows) -> tuple[list[int], list[int]]:
  """Splits ragged rows into their values in a row and the row lengths."""
  return list(itertools.chain.from_iterable(rows)), [len(row) for row in rows]


def encode_scene(scene: dict) -> bytes:
  """Serialises a scene; see `decode_scene` for its fields.

  Raises:
    ValueError: The parts of the scene disagree in length.
  """
  objects, questions = scene["objects"], scene["questions"]
  num_objects, num_questions = len(objects["3d_coords"]), len(questions["text"])
  for name, values in objects.items():
    _check_length(scene, f"objects/{name}", values, num_objects)
  for name, rows in scene["relationships"].items():
    _check_length(scene, f"relationships/{name}", rows, num_objects)
  for name, values in questions.items():
    _check_length(scene, f"questions/{name}", values, num_questions)

  values = {
    "image_filename": ("bytes", [scene["image_filename"].encode()]),
    "image_index": ("int64", [scene["image_index"]]),
    "objects/rotation": ("float", objects["rotation"]),
  }
  if scene["image"] is not None:
    values["image"] = ("bytes", [scene["image"]])
  for name in ("3d_coords", "pixel_coords"):
    values[f"objects/{name}"] = ("float", np.ravel(objects[name]))
  for name in ATTRIBUTES:
    values[f"objects/{name}"] = ("int64", objects[name])
  if "mask" in objects:
    values["objects/bbox"] = ("float", np.ravel(objects["bbox"]))
    values["objects/mask"] = ("bytes", [m.encode() for m in objects["mask"]])
    values["objects/mask_size"] = ("int64", np.ravel(objects["mask_size"]))
  ragged = {
    f"relationships/{name}": scene["relationships"][name] for name in RELATIONS
  }
  ragged["questions/tokens"] = questions["tokens"]
  for name, rows in ragged.items():
    flat, lengths = _flatten(rows)
    values[f"{name}/ragged_flat_values"] = ("int64", flat)
    values[f"{name}/ragged_row_lengths_0"] = ("int64", lengths)
  for name in _QUESTION_TEXTS:
    texts = [text.encode() for text in questions[name]]
    values[f"questions/{name}"] = ("bytes", texts)
  for name in _QUESTION_NUMBERS:
    values[f"questions/{name}"] = ("int64", questions[name])
  return encode_example(values)


def _check_length(scene: dict, name: str, values, length: int) -> None:
  if len(values) != length:
    raise ValueError(
      f"{scene['image_filename']}: {name} has {len(values)} entries instead of"
      f" {length}"
    )


def get_feature(features: dict[str, tuple[str, list]], name: str) -> list:
  """Returns the values of a feature that `decode_example` found.

  Raises:
    RecordError: It is not there.
  """
  try:
    return features[name][1]
  except KeyError:
    raise RecordError(
      f"the record has no field {name!r}; it was not written by this"
      " version: convert the data again"
    ) from None


def program_lengths(features: dict[str, tuple[str, list]]) -> np.ndarray:
  """Returns "program_length" of decode_scene; -1 in records that lack it."""
  unknown = [-1] * len(get_feature(features, "questions/answer"))
  values = features.get("questions/program_length", ("", unknown))[1]
  return np.array(values, np.int64)


def decode_scene(payload: bytes) -> dict:
  """Decodes one record.

  With N objects and Q questions a scene is a dictionary of
    image: bytes of a PNG file, or None (data without images).
    image_filename: str.
    image_index: int, index within the split.
    objects: "3d_coords" and "pixel_coords" float32 [N, 3], "rotation" float32
      [N]; "color", "material", "shape", "size" int64 [N], indices into
      `rn_jax.clevr.ATTRIBUTES[name]` and behind that the vocabulary's
      "attributes". pixel_coords and rotation are NaN where
      not given. N = 0 where scenes are not published or not CLEVR's.
      In records converted with annotations also of what is seen of each object
      "bbox" float32 [N, 4], left, upper, right and lower edge in units of the
      picture's width and height; and its mask, "mask", a list of str, COCO's
      compressed counts, with "mask_size" int64 [N, 2], height and width of the
      annotated picture in pixels. Zeros and no pixels where nothing is seen.
    relationships: "left", "right", "front", "behind", each a list of N lists:
      the objects that lie on that side of object i.
    questions: "text" and "family" lists of str ("one_hop/3" for a template of
      a file, "17" for an index over all files, "" unknown); "tokens" a list of
      int64 arrays of vocabulary indices (from 1) in reading order; and int64
      [Q]: "answer" (vocabulary index - 1, or -1 unknown), "question_index" (as
      in the questions file of the split if it rises there, else the position),
      "function" (index into `rn_jax.clevr.ANSWER_FUNCTIONS`, or -1),
      "question_type" (index into `tuple(rn_jax.clevr.QUESTION_TYPES)`, or -1),
      "program_length" (functions of the program, or -1; earlier records lack
      it).

  Raises:
    RecordError: The payload is no record of this version.
  """
  features = decode_example(payload)

  def get(name: str) -> list:
    return get_feature(features, name)

  def array(name: str, dtype) -> np.ndarray:
    return np.array(get(name), dtype)

  def rows(name: str) -> list[list[int]]:
    flat = iter(get(f"{name}/ragged_flat_values"))
    lengths = get(f"{name}/ragged_row_lengths_0")
    return [list(itertools.islice(flat, length)) for length in lengths]

  objects: dict[str, list | np.ndarray] = {
    name: array(f"objects/{name}", np.int64) for name in ATTRIBUTES
  }
  objects["rotation"] = array("objects/rotation", np.float32)
  for name in ("3d_coords", "pixel_coords"):
    objects[name] = array(f"objects/{name}", np.float32).reshape(-1, 3)
  if "objects/mask" in features:
    objects["bbox"] = array("objects/bbox", np.float32).reshape(-1, 4)
    objects["mask"] = [mask.decode() for mask in get("objects/mask")]
    objects["mask_size"] = array("objects/mask_size", np.int64).reshape(-1, 2)
  questions: dict[str, list | np.ndarray] = {
    name: [text.decode() for text in get(f"questions/{name}")]
    for name in _QUESTION_TEXTS
  }
  questions["tokens"] = [
    np.array(tokens, np.int64) for tokens in rows("questions/tokens")
  ]
  for name in _QUESTION_NUMBERS[:-1]:
    questions[name] = array(f"questions/{name}", np.int64)
  questions["program_length"] = program_lengths(features)
  return {
    "image": get("image")[0] if "image" in features else None,
    "image_filename": get("image_filename")[0].decode(),
    "image_index": get("image_index")[0],
    "objects": objects,
    "relationships": {r: rows(f"relationships/{r}") for r in RELATIONS},
    "questions": questions,
  }
