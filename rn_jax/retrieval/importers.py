r"""Makes features files of what others computed.

    python -m rn_jax.retrieval.importers --input=avf.pickle --name=avf \
        --label=AVF-RN --output=features_avf.npz
    python -m rn_jax.retrieval.importers --input=rmac.h5 --names=names.txt \
        --name=rmac --label=R-MAC --output=features_rmac.npz

Reads pickled lists of (batch index, array), as the reference implementation
saves them, without unpickling (interop/feature_pickle.py): row i is image i of
the split. Reads HDF5 files with one data set of vectors (`/rmac`) and a text
file with the image's name for each: the rows whose name contains the split, in
the order of the file (needs h5py: pip install 'rn_jax[retrieval]').
"""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from rn_jax.host import cli
from rn_jax.interop.feature_h5 import read_vectors
from rn_jax.interop.feature_pickle import read_feature_list
from rn_jax.retrieval.describe.features import METRICS, Features, save_features

_NUMBER = re.compile(r"(\d+)\.\w+")


def import_vectors(
  path: str | os.PathLike,
  vectors: np.ndarray,
  filenames: Sequence[str],
  name: str,
  label: str | None,
  metric: str,
) -> Features:
  """Makes features of one imported descriptor.

  Args:
    path: File that the vectors are from.
    vectors: float32 [N, D].
    filenames: Names of the N images. The numbers in them become the image
      indices if there is one in each and they differ; else the rows do.
    name: Name to give to the descriptor.
    label: Its name in tables and pictures; None: `name`.
    metric: "euclidean" or "cosine".
  """
  index = np.arange(len(filenames), dtype=np.int64)
  numbers = [_NUMBER.search(filename) for filename in filenames]
  if all(numbers):
    found = np.array([int(number[1]) for number in numbers], np.int64)
    if len(np.unique(found)) == len(found):
      index = found
  return Features(
    {name: vectors},
    index,
    np.array(filenames),
    {
      "descriptors": {name: {"label": label or name, "metric": metric}},
      "imported": {
        "file": os.path.abspath(path),
        "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
      },
    },
  )


def import_pickle(
  path: str | os.PathLike,
  name: str,
  *,
  label: str | None = None,
  metric: str = "euclidean",
  split: str = "val",
) -> Features:
  """Imports a pickled list of (batch index, array [B, D]) of a split of CLEVR.

  Arguments and errors are those of import_vectors and read_feature_list.
  """
  vectors = read_feature_list(path)
  filenames = [f"CLEVR_{split}_{i:06d}.png" for i in range(len(vectors))]
  return import_vectors(path, vectors, filenames, name, label, metric)


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
  """Imports the vectors of an HDF5 file whose image's name contains the split.

  Arguments and errors are those of import_vectors and read_vectors.
  """
  vectors, filenames = read_vectors(path, names, dataset, split)
  return import_vectors(path, vectors, filenames, name, label, metric)


def _main(
  input: str,
  output: str,
  name: str,
  label: str | None,
  metric: str | None,
  split: str,
  names: str | None,
  dataset: str,
) -> None:
  options = {"label": label, "split": split}
  if metric:
    options["metric"] = metric
  if Path(input).suffix not in (".h5", ".hdf5"):
    features = import_pickle(input, name, **options)
  elif names:
    features = import_h5(input, names, name, dataset=dataset, **options)
  else:
    raise app.UsageError("HDF5 files need --names")
  save_features(output, features)
  count, size = features.descriptors[name].shape
  print(f"{output}: {name}, {count:,} images, {size} numbers each")


if __name__ == "__main__":
  cli.run(
    _main,
    flags.DEFINE_string(
      "input",
      None,
      "File to read: .h5 or .hdf5, else a pickle.",
      required=True,
    ),
    flags.DEFINE_string(
      "output", None, "Features file to write, .npz.", required=True
    ),
    flags.DEFINE_string(
      "name", None, "Name to give to the descriptor.", required=True
    ),
    flags.DEFINE_string(
      "label", None, "Its name in tables and pictures; not given: --name."
    ),
    flags.DEFINE_enum(
      "metric",
      None,
      METRICS,
      "How images are compared; not given: cosine for HDF5, else euclidean.",
    ),
    flags.DEFINE_string("split", "val", "Split of CLEVR."),
    flags.DEFINE_string(
      "names", None, "For HDF5: text file with an image's name a line."
    ),
    flags.DEFINE_string("dataset", "rmac", "For HDF5: name of the data set."),
  )
