"""Decoded arrays kept on disk, so that they are decoded once.

A cache stands beside the records (`cache/`) or, where that folder cannot be
written or is in an object store, in the user's cache folder. It is only ever a
copy: a file that is damaged or was made from other records is made anew, and
where none can be written the arrays are kept in memory.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from absl import logging

from rn_jax.data.array_file import (
  ArrayFileError,
  ArrayStream,
  join,
  read_array_file,
  write_array_file,
)
from rn_jax.host.atomic import clear, replacing
from rn_jax.host.exclusive import exclusive
from rn_jax.host.paths import is_address, place
from rn_jax.host.user_cache import user_cache_dir


def load_arrays(
  records_dir: str | os.PathLike,
  name: str,
  key: str,
  make: Callable[[], Iterable[ArrayStream]],
  num_bytes: int,
) -> dict[str, np.ndarray]:
  """Returns arrays from the cache, and puts them there first if need be.

  Several processes may call this at once: one of them makes the file, the
  others on the same machine (and on others, where the file system has locks)
  wait for it.

  Args:
    records_dir: Folder of the records.
    name: File name for arrays made in this way from this folder.
    key: Differs whenever the arrays would.
    make: Makes the arrays; called again where writing fails.
    num_bytes: About their size.

  Returns:
    The arrays by name, memory-mapped and read-only; or in memory.
  """
  records_dir = place(records_dir)
  name_of = hashlib.sha256(str(records_dir.resolve()).encode()).hexdigest()[:12]
  folders = []
  if not is_address(records_dir):  # whose files cannot be mapped
    folders.append(records_dir / "cache")
  try:
    folders.append(user_cache_dir() / "arrays" / name_of)
  except OSError as error:
    logging.warning("Decoded arrays may have to stay in memory: %s", error)
  for folder in folders:
    arrays = _read(folder / name, key)
    if arrays is not None:
      return arrays
  for folder in folders:
    path = folder / name
    try:
      with exclusive(folder / f"{name}.lock", wait=True):
        arrays = _read(path, key)  # another process may have made it
        if arrays is None:
          _write(path, key, make, num_bytes)
          arrays = read_array_file(path, key)
      if arrays is not None:
        return arrays
    except (OSError, ArrayFileError) as error:
      # Where the records cannot be read, they raise again below.
      logging.warning("Cannot keep decoded arrays in %s: %s", folder, error)
  logging.warning("Decoded arrays stay in memory; the next start decodes again")
  return join(make())


def _read(path: Path, key: str) -> dict[str, np.ndarray] | None:
  started = time.monotonic()
  try:
    arrays = read_array_file(path, key)
  except (FileNotFoundError, NotADirectoryError):
    return None
  except (OSError, ArrayFileError) as error:
    logging.warning("Decoding again: %s", error)
    return None
  if arrays is None:
    logging.info("%s is of other records or settings; decoding anew", path)
    return None
  size, seconds = os.path.getsize(path), time.monotonic() - started
  logging.info("%s: %.3f GB checked in %.2f s", path, size / 1e9, seconds)
  return arrays


def _write(
  path: Path,
  key: str,
  make: Callable[[], Iterable[ArrayStream]],
  num_bytes: int,
) -> None:
  clear(path.parent)  # before the room is measured
  free = shutil.disk_usage(path.parent).free
  if free < 1.05 * num_bytes:
    raise OSError(f"{num_bytes / 1e9:.2f} GB wanted, {free / 1e9:.2f} GB free")
  with replacing(path) as temporary:
    write_array_file(temporary, key, make())
