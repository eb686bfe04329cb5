"""Files that are either whole or not there, whatever happens meanwhile."""

import contextlib
import functools
import hashlib
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from absl import logging

from rn_jax.host.paths import is_address, place
from rn_jax.host.write_errors import naming

if TYPE_CHECKING:
  from rn_jax.host.addresses import Address


def _where() -> str:
  """Returns what process numbers are of: a host, or a container of it."""
  space = ""
  with contextlib.suppress(OSError):
    space = os.readlink("/proc/self/ns/pid")
  return hashlib.sha256((socket.gethostname() + space).encode()).hexdigest()[:8]


_HOST = _where()
# Temporary files: of now, and of versions that did not name the host.
_OWNER = re.compile(r"\..+\.(?:([0-9a-f]{8})-)?(\d+)\.tmp")
_ABANDONED = 24 * 3600  # seconds without a write, on whatever host


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
  """Gives a temporary path beside `path` to write; then moves it there.

      with replacing("results.json") as temporary:
        temporary.write_text(text)

  The content is on the disk before it gets its name. If the block raises, what
  it wrote is removed and `path` stays as it was; errors of a full disk name it.
  What killed processes left in the folder is removed, once in each process.

  What goes to an object store, where nothing can be renamed, is written to a
  file of this machine and then sent: it appears there when all of it is sent.

  Args:
    path: File to write, or its address; an existing one is replaced.

  Raises:
    FileNotFoundError: There is no folder to write it to.
    OSError: It cannot be written; it is named, not the temporary file.
  """
  path = place(path)
  if is_address(path):
    with tempfile.TemporaryDirectory() as folder:
      temporary = Path(folder) / path.name
      with naming(temporary):
        yield temporary
      cast("Address", path).upload(temporary)
    return
  if path.exists() and not (path.is_file() or path.is_dir()):
    raise OSError(
      f"{path} is no regular file and is not replaced; choose another place"
    )
  if not path.parent.exists():
    raise FileNotFoundError(
      f"{path}: there is no folder {path.parent}; make it, or choose another "
      "place"
    )
  _clear_once(path.parent.absolute())
  # With the process, so that two of them never write the same file.
  temporary = path.with_name(f".{path.name}.{_HOST}-{os.getpid()}.tmp")
  try:
    with naming(path):
      yield temporary
      with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
      os.replace(temporary, path)
  except OSError as error:
    if error.filename != str(temporary):
      raise
    raise OSError(error.errno, error.strerror, str(path)) from error
  finally:
    # What kept it from being written may keep it from being looked for.
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[Path]:
  """Returns the temporary files in a folder: of programs killed or at work."""
  return sorted(
    path for path in folder.glob(".*.tmp") if _OWNER.fullmatch(path.name)
  )


def clear(folder: Path) -> None:
  """Removes the temporary files in a folder that nobody writes any more.

  They are those of this host whose process has ended, and those of other hosts
  and of earlier versions that did not change for a day.
  """
  for path in leftovers(folder):
    # It may be moved to its place meanwhile, or be another user's.
    with contextlib.suppress(OSError):
      if _is_stale(path):
        path.unlink()
        logging.info("Removed %s, which a killed process left", path)


_clear_once = functools.cache(clear)  # large folders take long to list


def _is_stale(path: Path) -> bool:
  owner = _OWNER.fullmatch(path.name)
  if owner and owner[1] == _HOST:
    return not _is_running(int(owner[2]))
  return time.time() - path.stat().st_mtime > _ABANDONED


def _is_running(process: int) -> bool:
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except (PermissionError, OverflowError):
    pass  # another user's; or no number of a process: better kept
  return True
