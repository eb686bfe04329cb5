"""Makes features files of what others computed.

    python -m rn_jax.retrieval.importers --input=avf.pickle --name=avf \
        --label=AVF-RN --output=features_avf.npz
    python -m rn_jax.retrieval.importers --input=rmac.h5 --names=names.txt \
        --name=rmac --label=R-MAC --output=features_rmac.npz

Reads pickled lists of (batch index, array), as the reference implementation
saves them, without unpickling (feature_pickle.py): row i is image i of the
split. Reads HDF5 files with one data set of vectors (`/rmac`) and a text file
with the image's name for each: the rows whose name contains the split, in the
order of the file (needs h5py: pip install 'rn_jax[retrieval]').
"""

import hashlib
import os
import re
from pathlib import Path

import numpy as np
from absl import app, flags

from rn_jax.interop.feature_pickle import read_feature_list
from rn_jax.interop.tensor_pickle import TorchFileError
from rn_jax.retrieval.describe.features import (
  METRICS,
  Features,
  FeaturesError,
  save_features,
)

_NUMBER = re.compile(r"(\d+)\.\w+")


def import_pickle(
  path: str | os.PathLike,
  name: str,
  *,
  label: str | None = None,
  metric: str = "euclidean",
  split: str = "val",
) -> Features:
  """Reads a pickled list of (batch index, array [B, D]).

  Args:
    path: The file.
    name: Name to give to the descriptor.
    label: Its name in tables and pictures; None: `name`.
    metric: "euclidean" or "cosine".
    split: Of CLEVR; decides the names of the images.

  Raises:
    FeaturesError: The file is damaged, holds something else, or asks for
      anything but arrays. Nothing has been run.
  """
  try:
    with open(path, "rb") as file:
      vectors = read_feature_list(file)
  except TorchFileError as error:
    raise FeaturesError(f"{path}: {error}") from error
  names = [f"CLEVR_{split}_{i:06d}.png" for i in range(len(vectors))]
  return _features(path, vectors, names, name, label, metric)


def import_h5(
  path: str | os.PathLike,
  names: str | os.PathLike,
  name: str,
  *,
  label: str | None = None,
  metric: str = "cosine",
  split: str = "val",
  dataset: str = "rmac",
) -> Features:
  """Reads vectors from an HDF5 file.

  Args:
    path: The file.
    names: Text file with the name of an image in each line, one per vector.
    name: Name to give to the descriptor.
    label: Its name in tables and pictures; None: `name`.
    metric: "euclidean" or "cosine".
    split: Rows are kept whose name contains it.
    dataset: Name of the data set in the file.

  Raises:
    FeaturesError: The file does not hold such vectors, or their number is not
      that of the names.
    ValueError: h5py is not installed.
  """
  try:
    import h5py
  except ImportError as error:
    raise ValueError(
      "HDF5 files need h5py: pip install 'rn_jax[retrieval]'"
    ) from error
  lines = Path(names).read_text(encoding="utf-8").split()
  keep = np.array([split in line for line in lines], bool)
  if not keep.any():
    raise FeaturesError(f"{names}: no name contains {split!r}")
  try:
    with h5py.File(path, "r") as file:
      vectors = file.get(dataset)
      if not isinstance(vectors, h5py.Dataset):
        raise FeaturesError(
          f"{path}: no data set {dataset!r}; there are: {', '.join(file)}"
        )
      if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise FeaturesError(
          f"{path}: {dataset} is {vectors.dtype} {list(vectors.shape)}, no "
          "floats [N, D]"
        )
      if len(vectors) != len(lines):
        raise FeaturesError(
          f"{path}: {len(vectors)} vectors, but {names} has {len(lines)} names"
        )
      found = vectors[:][keep].astype(np.float32)
  except OSError as error:
    raise FeaturesError(
      f"{path}: not a readable HDF5 file ({error})"
    ) from error
  kept = [
    Path(line).name for line, good in zip(lines, keep, strict=True) if good
  ]
  return _features(path, found, kept, name, label, metric)


def _features(path, vectors, names, name, label, metric) -> Features:
  numbers = [_NUMBER.search(n) for n in names]
  index = np.arange(len(names))
  if all(numbers):
    found = np.array([int(number[1]) for number in numbers])
    if len(np.unique(found)) == len(found):
      index = found
  about = {"label": label or name, "metric": metric}
  return Features(
    {name: vectors},
    index.astype(np.int64),
    np.array(names),
    {
      "descriptors": {name: about},
      "imported": {
        "file": os.path.abspath(path),
        "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
      },
    },
  )


def _define_flags() -> dict[str, flags.FlagHolder]:
  """Defines the flags; only when run as a program."""
  holders = [
    flags.DEFINE_string("input", None, "Pickle or HDF5 file.", required=True),
    flags.DEFINE_string("output", None, "Features file.", required=True),
    flags.DEFINE_string(
      "name", None, "Name to give to the descriptor.", required=True
    ),
    flags.DEFINE_string("label", None, "Its name in tables and pictures."),
    flags.DEFINE_enum(
      "metric",
      None,
      METRICS,
      "How images are compared; not given: cosine for HDF5, else euclidean.",
    ),
    flags.DEFINE_string("split", "val", "Split of CLEVR."),
    flags.DEFINE_string(
      "names", None, "For HDF5: text file with a name a line."
    ),
    flags.DEFINE_string("dataset", "rmac", "For HDF5: name of the data set."),
  ]
  return {holder.name: holder for holder in holders}


def _main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments {argv[1:]}")
  given = {
    n: flag.value for n, flag in _FLAGS.items() if flag.value is not None
  }
  path, output = given.pop("input"), given.pop("output")
  is_h5 = Path(path).suffix in (".h5", ".hdf5")
  if is_h5 and "names" not in given:
    raise app.UsageError("HDF5 files need --names")
  if not is_h5:
    del given["dataset"]
    given.pop("names", None)
  try:
    features = (import_h5 if is_h5 else import_pickle)(path, **given)
    save_features(output, features)
  except (ValueError, OSError) as error:
    raise SystemExit(f"error: {error}") from error
  for name, x in features.descriptors.items():
    print(f"{output}: {name}, {x.shape[0]:,} images, {x.shape[1]} numbers each")


if __name__ == "__main__":
  _FLAGS = _define_flags()
  app.run(_main)
