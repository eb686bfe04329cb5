"""Describes a records folder to tensorflow_datasets.

With these files `tfds.builder_from_directory(folder)` reads the records where
TensorFlow is installed. Writing them does not need TensorFlow.
"""

import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np

from rn_jax.clevr import (
  ANSWER_FUNCTIONS,
  QUESTION_TYPES,
  RELATIONS,
)
from rn_jax.data.records import DATASET_NAME
from rn_jax.data.vocabulary import answers_by_id, attribute_values
from rn_jax.host.atomic import replacing


def write_tfds_metadata(
  records_dir: Path, splits: dict[str, dict], vocabulary: dict[str, dict]
) -> None:
  """Writes `dataset_info.json`, `features.json` and the class names.

  Args:
    records_dir: Folder that holds the shards of exactly these splits.
    splits: The splits' entries of the manifest.
    vocabulary: That of the records.
  """
  # The library writes no files whole, and looks at the names of shards alone.
  with tempfile.TemporaryDirectory() as beside:
    folder = Path(beside)
    shards = [
      s["filename"] for split in splits.values() for s in split["shards"]
    ]
    for name in shards:
      (folder / name).touch()
    _write(folder, splits, vocabulary)
    for path in sorted(folder.iterdir()):
      if path.name not in shards:
        with replacing(records_dir / path.name) as temporary:
          shutil.copyfile(path, temporary)


def _write(
  folder: Path, splits: dict[str, dict], vocabulary: dict[str, dict]
) -> None:
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the library's own, about its imports
    import tensorflow_datasets as tfds

    template = tfds.core.ShardedFileTemplate(
      data_dir=folder,
      dataset_name=DATASET_NAME,
      filetype_suffix="tfrecord",
    )
    split_infos = [
      tfds.core.SplitInfo(
        name=name,
        shard_lengths=[shard["num_records"] for shard in split["shards"]],
        num_bytes=sum(shard["num_bytes"] for shard in split["shards"]),
        filename_template=template.replace(split=name),
      )
      for name, split in splits.items()
    ]
    tfds.folder_dataset.write_metadata(
      data_dir=folder,
      features=_features(tfds.features, splits, vocabulary),
      split_infos=split_infos,
      description="CLEVR: one scene per example, with all its questions.",
      check_data=False,
    )


def _features(features, splits: dict[str, dict], vocabulary: dict[str, dict]):
  integer = features.Scalar(np.int64)
  shapes = {
    (image["height"], image["width"], 3)
    for split in splits.values()
    if (image := split["image"])
  }
  annotated = any(
    split["source"]["arguments"].get("annotations") for split in splits.values()
  )
  fields = {
    "image_filename": features.Text(),
    "image_index": integer,
    "objects": features.Sequence(
      {
        "3d_coords": features.Tensor(shape=(3,), dtype=np.float32),
        "pixel_coords": features.Tensor(shape=(3,), dtype=np.float32),
        "rotation": features.Scalar(np.float32),
        **{
          name: features.ClassLabel(names=list(values))
          for name, values in attribute_values(vocabulary).items()
        },
        **(_annotations(features) if annotated else {}),
      }
    ),
    "relationships": {
      name: features.Sequence(features.Sequence(integer)) for name in RELATIONS
    },
    "questions": features.Sequence(
      {
        "text": features.Text(),
        "family": features.Text(),
        "tokens": features.Sequence(integer),
        "question_index": integer,
        "answer": features.ClassLabel(
          names=answers_by_id(vocabulary["answers"])
        ),
        "function": features.ClassLabel(names=list(ANSWER_FUNCTIONS)),
        "question_type": features.ClassLabel(names=list(QUESTION_TYPES)),
        "program_length": integer,
      }
    ),
  }
  if shapes:
    shape = shapes.pop() if len(shapes) == 1 else (None, None, 3)
    fields["image"] = features.Image(shape=shape, encoding_format="png")
  return features.FeaturesDict(fields)


def _annotations(features) -> dict:
  return {
    "bbox": features.Tensor(shape=(4,), dtype=np.float32),
    "mask": features.Text(),
    "mask_size": features.Tensor(shape=(2,), dtype=np.int64),
  }
