"""Reads and writes safetensors files, which hold nothing that could run."""

import os
from collections.abc import Mapping

import ml_dtypes  # noqa: F401  (NumPy has its bfloat16 from it)
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from rn_jax.host.atomic import replacing


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads all tensors of a file, by name.

  Raises:
    ValueError: The file is damaged or not a safetensors file.
    OSError: The file cannot be opened.
  """
  try:
    return safetensors.numpy.load_file(path)
  except (SafetensorError, AttributeError, TypeError) as error:
    # The last two: of dtypes that NumPy does not have.
    raise ValueError(
      f"{path}: not a safetensors file, or damaged or cut short ({error})"
    ) from error


def write_safetensors(
  path: str | os.PathLike, tensors: Mapping[str, np.ndarray]
) -> None:
  """Writes tensors, whole or not at all; an existing file is replaced.

  Raises:
    ValueError: The format has no name for a tensor's dtype.
  """
  # In C order: the library writes the memory as it lies.
  arrays = {k: np.asarray(x, order="C") for k, x in tensors.items()}
  try:
    content = safetensors.numpy.save(arrays)
  except SafetensorError as error:
    raise ValueError(f"{path}: {error}") from error
  with replacing(path) as temporary:
    temporary.write_bytes(content)
