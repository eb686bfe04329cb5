"""Paths as people write them."""

import os
import re
from collections.abc import Iterable


def local_path(path: str | os.PathLike) -> str:
  """Returns a path of this machine's files, with `~` at its start expanded.

  Raises:
    ValueError: It is an address, such as gs://bucket/folder, which would
      otherwise name a folder `gs:`.
  """
  text = os.fspath(path)
  # Path("gs://bucket") has one slash; a Windows drive has one letter.
  if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
    raise ValueError(
      f"{text} is an address, and only local files are read and written; name "
      "a local path: a copy of it, a mounted folder, or one to upload later"
    )
  return os.path.expanduser(text)


def local_paths(
  paths: str | os.PathLike | Iterable[str | os.PathLike],
) -> list[str]:
  """Returns what local_path makes of each of some paths, or of a single one."""
  single = isinstance(paths, str | os.PathLike)
  return [local_path(path) for path in ([paths] if single else paths)]
