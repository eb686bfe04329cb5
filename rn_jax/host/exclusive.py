"""Lets one process at a time write to a folder or a file."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from absl import logging
from filelock import FileLock, Timeout

from rn_jax.host.paths import is_address
from rn_jax.host.write_errors import naming

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class BusyError(OSError):
  """Another run is writing to the same folder or file."""


@contextlib.contextmanager
def exclusive(
  path: Path, *, wait: bool = False, what: Path | None = None
) -> Iterator[None]:
  """Holds the lock file `path`, made and in the end removed.

  While it is held, it says by which process. Errors of a full disk that come
  meanwhile name what is written.

  The system frees the lock of a process that is killed. On a file system that
  has no locks there is a warning, and nobody is kept out; nor is it in object
  stores.

  Args:
    path: The lock file.
    wait: Wait until the lock is free.
    what: What is written meanwhile; None: the folder of the lock file.

  Raises:
    BusyError: Another process holds it, and `wait` is off.
  """
  if is_address(path):
    logging.info(
      "%s: object stores have no locks; start no second run that writes here",
      what or path.parent,
    )
    yield
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  # A soft lock, which is a file, would outlive a process that is killed.
  lock = FileLock(path, fallback_to_soft=False)
  try:
    lock.acquire(timeout=0)
  except Timeout:
    if not wait:
      raise BusyError(
        f"{what or path.parent}: another run is writing here "
        f"({_holder(path)}); wait for its end, or choose another place"
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
    with contextlib.suppress(OSError):  # a full disk is no matter here
      path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
    with naming(what or path.parent):
      yield
  finally:
    # While it is held: who opened the file before finds that it is gone.
    path.unlink(missing_ok=True)
    lock.release()


def writing(path: Path) -> contextlib.AbstractContextManager[None]:
  """Holds the lock beside a file that one is about to write; see exclusive."""
  path = path.resolve()
  return exclusive(path.with_name(f".{path.name}.lock"), what=path)


def _holder(path: Path) -> str:
  try:
    return path.read_text() or "just started"
  except OSError:
    return "just ended"
