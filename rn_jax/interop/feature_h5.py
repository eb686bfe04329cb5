"""Vectors of images from HDF5 files, such as published R-MAC features."""

import os
from pathlib import Path

import numpy as np


def read_vectors(
  path: str | os.PathLike,
  names: str | os.PathLike,
  dataset: str,
  containing: str,
) -> tuple[np.ndarray, list[str]]:
  """Reads the vectors of those images whose name, or folder, says so.

  Args:
    path: HDF5 file with one data set of vectors.
    names: Text file with the name of an image in each line, one per vector.
    dataset: Name of the data set.
    containing: Part of the file's name, or the name of a folder: "val".

  Returns:
    float32 [N, D] in the order of the file, and the N names without folders.

  Raises:
    ValueError: The file does not hold such vectors, their number is not that
      of the names, or h5py is not installed.
    OSError: The text file cannot be opened.
  """
  try:
    import h5py  # pyright: ignore[reportMissingImports] (an extra)
  except ImportError as error:
    raise ValueError(
      "HDF5 files need h5py: pip install 'rn_jax[retrieval]'"
    ) from error
  text = Path(names).read_text(encoding="utf-8")
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  # A folder says so with its whole name: images/val, but not /home/vale.
  keep = [
    containing in Path(line).name or containing in Path(line).parts
    for line in lines
  ]
  if not any(keep):
    raise ValueError(f"{names}: no name contains {containing!r}")
  try:
    with h5py.File(path, "r") as file:
      vectors = file.get(dataset)
      if not isinstance(vectors, h5py.Dataset):
        raise ValueError(
          f"{path}: no data set {dataset!r}; there are: {', '.join(file)}"
        )
      if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ValueError(
          f"{path}: {dataset} is {vectors.dtype} {list(vectors.shape)}, no "
          "floats [N, D]"
        )
      if len(vectors) != len(lines):
        raise ValueError(
          f"{path}: {len(vectors)} vectors, but {names} has {len(lines)} names"
        )
      found = vectors[:][keep].astype(np.float32)
  except OSError as error:
    raise ValueError(f"{path}: not a readable HDF5 file ({error})") from error
  return found, [Path(line).name for line in np.array(lines)[keep]]
