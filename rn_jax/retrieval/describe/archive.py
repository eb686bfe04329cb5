"""Arrays and their description in one .npz that never runs anything.

The description is JSON in the array `metadata`; pickled arrays are refused. An
archive's own checksums tell whether it is intact.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from rn_jax.host.atomic import replacing
from rn_jax.host.paths import local_path


class ArchiveError(ValueError):
  """The file is no such archive, or damaged."""


def write_archive(
  path: str | os.PathLike, header: Mapping, arrays: Mapping[str, np.ndarray]
) -> None:
  """Writes an archive, whole or not at all; `header` becomes JSON."""
  metadata = np.array(json.dumps(header, allow_nan=False))
  # Through a file: savez would append .npz to a temporary name.
  with replacing(path) as temporary, open(temporary, "wb") as file:
    np.savez(file, metadata=metadata, **arrays)


def read_archive(
  path: str | os.PathLike,
) -> tuple[dict[str, np.ndarray], dict]:
  """Reads the arrays of an archive and its header.

  Raises:
    ArchiveError: It is none, or damaged.
    OSError: It cannot be opened.
  """
  # Opened here: numpy leaves a damaged file open.
  with open(local_path(path), "rb") as file:
    # Else numpy takes it for a pickle, and tells how to run it.
    if not zipfile.is_zipfile(file):
      raise ArchiveError("it is no .npz")
    file.seek(0)
    try:
      archive = np.load(file, allow_pickle=False)
      arrays = {name: archive[name] for name in archive.files}
      return arrays, dict(json.loads(str(arrays.pop("metadata"))))
    except (
      EOFError,
      KeyError,
      TypeError,
      ValueError,
      zipfile.BadZipFile,
      zlib.error,
    ) as error:
      raise ArchiveError(str(error)) from error
