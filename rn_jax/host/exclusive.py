"""Keeps two runs from writing to one folder at the same time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class BusyError(OSError):
  """Another run is writing to the folder."""


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
  """Holds the lock file `path`, made and in the end removed.

  The system frees the lock of a process that is killed.

  Raises:
    BusyError: Another process holds it.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  while True:
    file = open(path, "a")  # noqa: SIM115
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      # Whoever held it before may have removed it in the meantime.
      if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
        break
    except FileNotFoundError:
      pass
    except BlockingIOError:
      file.close()
      raise BusyError(
        f"{path.parent}: another run is writing here; wait for its end, or "
        "choose another folder"
      ) from None
    file.close()
  try:
    yield
  finally:
    path.unlink(missing_ok=True)
    file.close()
