"""Lets one process at a time write to a folder."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from absl import logging
from filelock import FileLock, Timeout

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class BusyError(OSError):
  """Another run is writing to the folder."""


@contextlib.contextmanager
def exclusive(path: Path, *, wait: bool = False) -> Iterator[None]:
  """Holds the lock file `path`, made and in the end removed.

  The system frees the lock of a process that is killed. On a file system that
  has no locks there is a warning, and nobody is kept out.

  Args:
    path: The lock file.
    wait: Wait until the lock is free.

  Raises:
    BusyError: Another process holds it, and `wait` is off.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  # A soft lock, which is a file, would outlive a process that is killed.
  lock = FileLock(path, fallback_to_soft=False)
  try:
    lock.acquire(timeout=0)
  except Timeout:
    if not wait:
      raise BusyError(
        f"{path.parent}: another run is writing here; wait for its end, or "
        "choose another folder"
      ) from None
    logging.info("Waiting for the process that holds %s", path)
    lock.acquire()
  except OSError as error:
    if error.errno not in _NO_LOCKS:
      raise
    logging.warning(
      "%s: the file system has no locks (%s); start no second run that writes "
      "here",
      path.parent,
      error.strerror,
    )
  try:
    yield
  finally:
    # While it is held: who opened the file before finds that it is gone.
    path.unlink(missing_ok=True)
    lock.release()
