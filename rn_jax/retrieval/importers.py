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
from absl import flags

from rn_jax.host import cli
from rn_jax.host.exclusive import writing
from rn_jax.interop.feature_h5 import read_vectors
from rn_jax.interop.feature_pickle import read_feature_list
from rn_jax.retrieval.describe.features import METRICS, Features, save_features

_NUMBER = re.compile(r"(\d+)\.\w+")


def import_features(
  path: str | os.PathLike,
  name: str,
  *,
  label: str | None = None,
  metric: str | None = None,
  split: str = "val",
  names: str | os.PathLike | None = None,
  dataset: str = "rmac",
) -> Features:
  """Makes features of one imported descriptor.

  The numbers in the images' names become the image indices if there is one in
  each and they differ; else the rows do.

  Args:
    path: An HDF5 file (.h5, .hdf5), or else a pickled feature list.
    name: Name to give to the descriptor.
    label: Its name in tables and pictures; None: `name`.
    metric: "euclidean" or "cosine"; None: cosine for HDF5, else euclidean.
    split: Of CLEVR; says which images these are.
    names: For HDF5: text file with the name of an image in each line.
    dataset: For HDF5: name of the data set.

  Raises:
    ValueError, OSError: As read_vectors and read_feature_list do.
  """
  is_h5 = Path(path).suffix in (".h5", ".hdf5")
  if is_h5:
    if names is None:
      raise ValueError(f"{path}: HDF5 files need --names")
    vectors, filenames = read_vectors(path, names, dataset, split)
  else:
    vectors = read_feature_list(path)
    filenames = [f"CLEVR_{split}_{i:06d}.png" for i in range(len(vectors))]
  metric = metric or ("cosine" if is_h5 else "euclidean")
  return Features(
    {name: vectors},
    numbers_in(filenames),
    np.array(filenames),
    {
      "descriptors": {name: {"label": label or name, "metric": metric}},
      "imported": {
        "file": os.path.abspath(path),
        "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
      },
    },
  )


def numbers_in(filenames: Sequence[str]) -> np.ndarray:
  """Returns the numbers in names, or those of the rows if they are no indices.

  Returns:
    [N] int64, unique.
  """
  numbers = [_NUMBER.search(filename) for filename in filenames]
  found = [int(number[1]) for number in numbers if number]
  if len({*found}) == len(filenames) and max(found, default=0) < 2**63:
    return np.array(found, np.int64)
  return np.arange(len(filenames), dtype=np.int64)


def _main(input: str, output: str, name: str, **settings) -> None:
  features = import_features(input, name, **settings)
  with writing(Path(output)):
    save_features(output, features)
  count, size = features.descriptors[name].shape
  print(f"{output}: {name}, {count:,} images, {size} numbers each")


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "input",
      None,
      "File to read: .h5 or .hdf5, else a pickle.",
      required=True,
    ),
    cli.path_flag(
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
    cli.path_flag(
      "names", None, "For HDF5: text file with an image's name a line."
    ),
    flags.DEFINE_string("dataset", "rmac", "For HDF5: name of the data set."),
  )
