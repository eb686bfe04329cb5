"""Features files: the descriptors of images, and what they were made of.

    from rn_jax.retrieval.describe.features import load_features

    features = load_features("features_val.npz")
    features.descriptors["g2_avg"]  # float32 [N, D], row i of image i

One .npz holds several descriptors of the same images. Arrays are stored
plainly and the metadata as JSON, so reading a file never runs anything.
"""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from rn_jax.retrieval.describe.archive import (
  ArchiveError,
  read_archive,
  write_archive,
)
from rn_jax.retrieval.image_indices import image_indices

FORMAT_VERSION = 1
METRICS = ("euclidean", "cosine")
_PREFIX = "descriptors/"


class FeaturesError(ValueError):
  """A features file is damaged, or does not hold what is asked for."""


@dataclasses.dataclass(frozen=True)
class Features:
  """Descriptors of N images; row i of every array belongs to image i.

  Attributes:
    descriptors: float32 [N, D] by name, see descriptors.py.
    image_index: [N] int64: the image's index in its split, or its position
      among the files of a folder. Unique.
    image_filename: [N] str: the image's name in its split, or its path within
      the folder, with "/".
    metadata: JSON values. What extraction writes: `network` (name, checkpoint,
      checkpoint_sha256, config), `preprocessing`, `source` (records and split,
      or folder), `versions`, `skipped` (files that were no images), and
      `descriptors`: by name `label`, `layer`, `pooling`, `unit_pairs` and
      `metric` ("euclidean" or "cosine").
  """

  descriptors: dict[str, np.ndarray]
  image_index: np.ndarray
  image_filename: np.ndarray
  metadata: dict

  def __len__(self) -> int:
    return len(self.image_index)

  def descriptor(self, name: str) -> np.ndarray:
    """Returns one descriptor, [N, D].

    Raises:
      FeaturesError: There is none of that name.
    """
    if name not in self.descriptors:
      raise FeaturesError(
        f"no descriptor {name!r} here; there are: {', '.join(self.descriptors)}"
      )
    return self.descriptors[name]

  def about(self, name: str) -> dict:
    """Returns what the metadata say of one descriptor; {} if nothing."""
    return self.metadata.get("descriptors", {}).get(name, {})

  def label(self, name: str) -> str:
    """Returns a descriptor's name for tables and pictures."""
    return self.about(name).get("label", name)

  def rows_of(self, image_index) -> np.ndarray:
    """Returns the rows of images, given their indices.

    Raises:
      FeaturesError: There is no such image.
      ValueError: An index is no whole number.
    """
    image_index = image_indices(image_index)
    rows = {index: row for row, index in enumerate(self.image_index.tolist())}
    unknown = [i for i in image_index if i not in rows]
    if unknown:
      known = f" from {min(rows)} to {max(rows)}" if rows else ""
      raise FeaturesError(
        f"no image of index {unknown[0]} here; there are {len(self)}{known}"
      )
    return np.array([rows[i] for i in image_index], np.int64)

  def rows_of_files(self, filenames, where: str = "features") -> np.ndarray:
    """Returns the rows of images, given their names, whatever their folders.

    Args:
      filenames: Names without a folder.
      where: What errors call these features.

    Raises:
      FeaturesError: There is no such image, or its name occurs twice.
    """
    names = list(map(file_name, self.image_filename))
    rows = {name: row for row, name in enumerate(names)}
    missing = [name for name in filenames if name not in rows]
    if missing:
      raise FeaturesError(
        f"{where}: no features of {len(missing)} of {len(filenames)} scenes, "
        f"the first is {missing[0]}. Extract features of all scenes of the "
        "ground truth, or compute one of those that have features (--subset)"
      )
    # Of equal names the last one's row is in `rows`.
    hidden = {name for row, name in enumerate(names) if rows[name] != row}
    if twice := hidden.intersection(filenames):
      raise FeaturesError(
        f"{where}: several images are named {min(twice)}; extract features of "
        "one split or folder"
      )
    return np.array([rows[name] for name in filenames], np.int64)


def file_name(image_filename: str) -> str:
  """Returns the name of an image without its folders."""
  return str(image_filename).rsplit("/", 1)[-1]


def choose_descriptors(
  features: Sequence[Features], wanted: Sequence[str]
) -> list[tuple[int, str]]:
  """Lists the descriptors of several files: (number of the file, name).

  Args:
    features: What the files hold.
    wanted: Names, or a single one; empty: all.

  Raises:
    FeaturesError: No file has a descriptor that is wanted.
  """
  wanted = [wanted] if isinstance(wanted, str) else wanted
  there = [(i, name) for i, f in enumerate(features) for name in f.descriptors]
  known = dict.fromkeys(name for _, name in there)
  if unknown := [name for name in wanted if name not in known]:
    raise FeaturesError(
      f"no descriptor {unknown[0]!r} here; there are: {', '.join(known)}"
    )
  return [(i, name) for i, name in there if not wanted or name in wanted]


def save_features(path: str | os.PathLike, features: Features) -> None:
  """Writes a features file, whole or not at all.

  Raises:
    FeaturesError: The arrays do not fit together, or hold NaN or infinity.
  """
  check(features, str(path))
  write_archive(
    path,
    {"format_version": FORMAT_VERSION, **features.metadata},
    {
      "image_index": features.image_index,
      "image_filename": features.image_filename,
      **{_PREFIX + name: x for name, x in features.descriptors.items()},
    },
  )


def load_features(path: str | os.PathLike) -> Features:
  """Reads a features file.

  Raises:
    FeaturesError: It is no features file, is damaged, or of another version.
    OSError: It cannot be opened.
  """
  try:
    arrays, metadata = read_archive(path)
    version = metadata.pop("format_version")
    index = arrays.pop("image_index")
    filename = arrays.pop("image_filename")
  except (ArchiveError, KeyError) as error:
    raise FeaturesError(
      f"{path}: no features file, or damaged ({error}); extract it again"
    ) from error
  if version != FORMAT_VERSION:
    raise FeaturesError(
      f"{path}: format version {version}, this program reads {FORMAT_VERSION}"
    )
  features = Features(
    {name.removeprefix(_PREFIX): x for name, x in arrays.items()},
    index,
    filename,
    metadata,
  )
  check(features, str(path))
  return features


def check(features: Features, path: str) -> None:
  """Checks that the arrays fit together and are finite.

  Args:
    features: What to check.
    path: Names the features in errors.

  Raises:
    FeaturesError: They do not.
  """
  if features.image_index.dtype != np.int64 or features.image_index.ndim != 1:
    raise FeaturesError(f"{path}: image_index is not an int64 vector")
  count = len(features.image_index)
  if len(np.unique(features.image_index)) != count:
    raise FeaturesError(f"{path}: an image_index occurs twice")
  shape = features.image_filename.shape
  if features.image_filename.dtype.kind != "U" or shape != (count,):
    raise FeaturesError(f"{path}: image_filename is not {count} names")
  described = features.metadata.get("descriptors", {})
  if not isinstance(described, dict) or not all(
    isinstance(about, dict) for about in described.values()
  ):
    raise FeaturesError(
      f"{path}: what it says of its descriptors is unreadable"
    )
  if not features.descriptors:
    raise FeaturesError(f"{path}: there is no descriptor in it")
  for name, x in features.descriptors.items():
    if x.dtype != np.float32 or x.ndim != 2 or len(x) != count:
      raise FeaturesError(
        f"{path}: descriptor {name!r} is {x.dtype} {list(x.shape)}, not "
        f"float32 [{count}, D]"
      )
    if not np.isfinite(x).all():
      row = int(np.flatnonzero(~np.isfinite(x).all(1))[0])
      raise FeaturesError(
        f"{path}: descriptor {name!r} of {features.image_filename[row]} is not "
        "finite"
      )
