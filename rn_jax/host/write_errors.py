"""Errors of full disks and closed folders, in a line that says what to do."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

_FULL = (
  "make room there and run the same command again, or choose another place"
)
_CLOSED = "allow access to it, or choose another place"
_REMEDIES = {
  errno.ENOSPC: _FULL,
  errno.EDQUOT: _FULL,
  errno.EFBIG: "files there, or ulimit -f, may not be so large",
  errno.EACCES: _CLOSED,
  errno.EPERM: _CLOSED,
  errno.EROFS: _CLOSED,
  errno.ENOTDIR: "part of this path is a file; choose another place",
}


@contextlib.contextmanager
def naming(place: Path) -> Iterator[None]:
  """Names a place in errors of a full disk, which come without a name."""
  try:
    yield
  except OSError as error:
    if error.filename is not None or error.errno not in _REMEDIES:
      raise
    raise OSError(error.errno, error.strerror, str(place)) from error


def explain(error: Exception) -> str:
  """Returns what an error says, with the remedy if it is of such a place."""
  if not isinstance(error, OSError) or error.errno not in _REMEDIES:
    return str(error)
  place = error.filename2 or error.filename
  named = f"{place}: " if place else ""
  return f"{named}{error.strerror}; {_REMEDIES[error.errno]}"
