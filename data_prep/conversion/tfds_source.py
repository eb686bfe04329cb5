"""Converts the `clevr` data set of tensorflow_datasets to records.

Needs TensorFlow (`pip install 'rn_jax[tfds]'`). That data set has no programs,
families or relationships: functions and question types are -1, families empty,
and relationships are computed from the coordinates. It is also shuffled:
question indices and the vocabulary assume, as is true of the released files,
that questions stand there in the order of the image files.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data_prep.conversion import records_folder, shards
from data_prep.conversion.clevr_json import SourceError
from data_prep.conversion.clevr_source import Question, read_question
from data_prep.conversion.scene_record import encode_image
from data_prep.generation.scenes import relationships
from rn_jax.clevr import ATTRIBUTES, RELATIONS
from rn_jax.data import records
from rn_jax.data.images import read_image

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


def convert_examples(
  examples: Callable[[str, bool], Iterable[dict]],
  output_dir: str | os.PathLike,
  splits: Sequence[str],
  *,
  name: str = "clevr",
  image_size: int = 128,
  vocabulary: str | os.PathLike | None = None,
  num_shards: int | None = None,
) -> dict:
  """Converts examples in the form of the `clevr` data set.

  Args:
    examples: Called twice with a split: with False for the examples' file
      names, questions and answers, with True for whole examples in any order.
      "image" is a uint8 array [H, W, 3] or the bytes of an image file.
    output_dir: Records folder to make or to extend.
    splits: Names of the splits.
    name: Name of the source, for the manifest.
    image_size: Width and height in pixels; 0 keeps the images as they are.
    vocabulary: As for `data_prep.convert_clevr.convert`.
    num_shards: Shards per split; by default one for every 512 scenes.

  Returns:
    The manifest of the output folder.
  """
  output_dir = Path(output_dir)
  splits = sorted(
    dict.fromkeys(splits), key=lambda s: not s.startswith("train")
  )
  manifest = records_folder.open_folder(output_dir)
  words = records_folder.open_vocabulary(
    vocabulary, output_dir, manifest, splits
  )
  output_dir.mkdir(parents=True, exist_ok=True)
  for split in splits:
    questions, digest = _read_questions(examples(split, False), split, words)
    words.frozen = True
    num = shards.count_shards(len(questions), num_shards)
    description = records_folder.describe(
      name, {"questions": digest}, words, image_size=image_size, num_shards=num
    )
    known = records_folder.check_fits(
      output_dir, manifest, split, description, images=True
    )
    if known:  # the same split of the same source: nothing to do
      continue
    whole = iter(examples(split, True))
    sources = (
      scene_of(example, questions, image_size)
      for example in tqdm(whole, split, len(questions), unit=" scenes")
    )
    bounds = [len(questions) * i // num for i in range(num + 1)]
    entries = [
      shards.write_shard_of_scenes(
        output_dir / records.shard_name(split, i, num),
        itertools.islice(sources, bounds[i + 1] - bounds[i]),
      )
      for i in range(num)
    ]
    entry = shards.summarise(entries)
    if entry["num_scenes"] != len(questions) or next(whole, None) is not None:
      raise SourceError(
        f"{name}, split {split!r}: the number of examples changed between two"
        " readings; prepare the data set again"
      )
    manifest["splits"][split] = {**entry, "source": description}
  records_folder.finish_folder(output_dir, manifest, words)
  return manifest


def _text(value: bytes | str) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)


def _read_questions(
  examples: Iterable[dict], split: str, words
) -> tuple[dict[str, list[Question]], str]:
  """Returns the questions by file name, and a hash of them."""
  asked = {}
  for example in tqdm(examples, f"{split} questions", delay=1):
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


def scene_of(
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


def convert_tfds(
  data_dir: str | os.PathLike,
  output_dir: str | os.PathLike,
  splits: Sequence[str] = (),
  **arguments,
) -> dict:
  """Converts the `clevr` data set that tensorflow_datasets has prepared.

  Args:
    data_dir: The data_dir of tensorflow_datasets.
    output_dir: Records folder to make or to extend.
    splits: "train", "val" (there "validation"), "test"; by default all.
    **arguments: As for `convert_examples`.

  Returns:
    The manifest of the output folder.

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

  return convert_examples(
    examples,
    output_dir,
    splits or ("train", "val", "test"),
    name=builder.info.full_name,
    **arguments,
  )
