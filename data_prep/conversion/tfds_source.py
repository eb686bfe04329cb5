"""Reads the `clevr` data set of tensorflow_datasets.

Needs TensorFlow (`pip install 'rn_jax[tfds]'`). That data set has no programs,
families or relationships: functions and question types are -1, families empty,
and relationships are computed from the coordinates. It is also shuffled:
question indices and the vocabulary assume, as is true of the released files,
that questions stand there in the order of the image files.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from PIL import Image

from data_prep.conversion.clevr_question import Question, read_question
from data_prep.conversion.clevr_source import Split
from data_prep.conversion.growing_vocabulary import Vocabulary
from data_prep.conversion.scene_record import encode_image
from data_prep.generation.scenes import relationships
from rn_jax.clevr import ATTRIBUTES, RELATIONS
from rn_jax.data.clevr_json import SourceError
from rn_jax.data.images import read_image
from rn_jax.host.progress import progress_bar

SPLITS = ("train", "val", "test")
# The class names of `clevr` 3.1.0, in the order of their numbers there.
CLASSES = {
  "color": (
    *("gray", "blue", "brown", "yellow"),
    *("red", "green", "purple", "cyan"),
  ),
  "material": ("rubber", "metal"),
  "shape": ("cube", "sphere", "cylinder"),
  "size": ("small", "large"),
}
_TO_OURS = {
  name: np.array([ATTRIBUTES[name].index(value) for value in values])
  for name, values in CLASSES.items()
}
_FILE = re.compile(r"CLEVR_\w+_(\d+)\.png")


# Called with a split: with False for the examples' file names, questions and
# answers, with True for whole examples, in any order that stays the same.
# "image" is a uint8 array [H, W, 3] or the bytes of an image file.
Examples = Callable[[str, bool], Iterable[dict]]


def load_split(
  examples: Examples, image_size: int, split: str, vocabulary: Vocabulary
) -> tuple[Split, Callable]:
  """Reads the questions of a split, and prepares to read its scenes.

  Args:
    examples: Examples in the form of the `clevr` data set.
    image_size: Width and height in pixels; 0 keeps the images as they are.
    split: Name of the split.
    vocabulary: Gives the indices of words and answers; may grow.

  Returns:
    The split, whose sources are positions; and a function from positions to
    the record contents there, to be called with later and later ones.

  Raises:
    SourceError: An example is not as expected.
  """
  questions, digest = _read_questions(examples(split, False), split, vocabulary)

  def read_whole():  # begun when it is needed
    yield from enumerate(examples(split, True))

  whole = read_whole()

  def build(positions: range) -> Iterator[dict]:
    for position, example in whole:
      if position >= positions.start:
        yield _scene_of(example, questions, image_size)
      if position == positions.stop - 1:
        break
    else:
      raise changed
    if positions.stop == len(questions) and next(whole, None) is not None:
      raise changed

  changed = SourceError(
    f"split {split!r}: the number of examples changed between two readings; "
    "prepare the data set again"
  )
  sources = range(len(questions))
  return Split(sources, True, {"questions": digest}, {}), build


def _text(value: bytes | str) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)


def _read_questions(
  examples: Iterable[dict], split: str, words
) -> tuple[dict[str, list[Question]], str]:
  """Returns the questions by file name, and a hash of them."""
  asked = {}
  for example in progress_bar(examples, desc=f"{split} questions", delay=1):
    filename = _text(example["file_name"])
    if filename in asked or not _FILE.fullmatch(filename):
      raise SourceError(f"split {split!r}: unexpected file name {filename!r}")
    pairs = example["question_answer"]
    asked[filename] = [
      (_text(q), _text(a))
      for q, a in zip(pairs["question"], pairs["answer"], strict=True)
    ]
  if not asked:
    raise SourceError(f"split {split!r} is empty")
  questions, digest, number = {}, hashlib.sha256(), 0
  for filename in sorted(asked):
    digest.update(repr((filename, asked[filename])).encode())
    questions[filename] = []
    for text, answer in asked[filename]:
      where = f"split {split!r}, {filename}: question {number}"
      element = {"question": text, "answer": answer or None}
      questions[filename].append(read_question(element, number, words, where))
      number += 1
  return questions, digest.hexdigest()


def _scene_of(
  example: dict, questions: dict[str, list[Question]], image_size: int
) -> dict:
  """Returns the record content of an example."""
  filename = _text(example["file_name"])
  image = example["image"]
  if isinstance(image, bytes):
    image = read_image(image, name=filename)
  objects = {
    key: np.asarray(example["objects"][key], np.float32)
    for key in ("3d_coords", "pixel_coords", "rotation")
  }
  for key, to_ours in _TO_OURS.items():
    objects[key] = to_ours[np.asarray(example["objects"][key], np.int64)]
  sides = relationships(objects["3d_coords"].tolist())
  return {
    "image": encode_image(Image.fromarray(image), image_size),
    "image_filename": filename,
    "image_index": int(_FILE.fullmatch(filename)[1]),
    "objects": objects,
    "relationships": {side: sides[side] for side in RELATIONS},
    "questions": {
      key: [getattr(question, key) for question in questions[filename]]
      for key in Question._fields
    },
  }


def open_tfds(data_dir: str | os.PathLike) -> tuple[str, Examples]:
  """Opens the `clevr` data set that tensorflow_datasets has prepared.

  Args:
    data_dir: The data_dir of tensorflow_datasets.

  Returns:
    Its name with its version, and its examples; the val split is called
    "validation" there.

  Raises:
    SourceError: TensorFlow or the prepared data set is missing.
  """
  try:
    import tensorflow  # noqa: F401 (tfds needs it to read)
    import tensorflow_datasets as tfds
  except ImportError as error:
    raise SourceError(
      f"--source=tfds needs TensorFlow ({error}):"
      " pip install 'rn_jax[tfds]'; or convert the downloaded CLEVR folder"
    ) from None
  builder = tfds.builder("clevr:3.1.0", data_dir=data_dir)
  if not builder.info.splits:
    raise SourceError(
      f"{data_dir}: tensorflow_datasets has not prepared clevr:3.1.0 there; run"
      f" tfds.builder('clevr:3.1.0', data_dir={os.fspath(data_dir)!r})"
      ".download_and_prepare()"
    )
  features = builder.info.features["objects"].feature
  for name, classes in CLASSES.items():
    if tuple(features[name].names) != classes:
      raise SourceError(f"clevr of tensorflow_datasets changed its {name}s")

  def examples(split: str, whole: bool) -> Iterable[dict]:
    decoders = {"image": tfds.decode.SkipDecoding()}
    if not whole:
      decoders = tfds.decode.PartialDecoding(
        {"file_name": True, "question_answer": {"question", "answer"}}
      )
    split = "validation" if split == "val" else split
    return tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders))

  return builder.info.full_name, examples
