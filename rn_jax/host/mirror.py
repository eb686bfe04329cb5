"""A copy on this machine of a folder in an object store.

What appends to files, renames them or maps them works on the copy; `push` sends
what has changed since.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from absl import logging

from rn_jax.host.paths import is_address

if TYPE_CHECKING:
  from rn_jax.host.addresses import Address


@contextlib.contextmanager
def fetched(path: Path, part: str = "") -> Iterator[Path]:
  """Gives a copy of a folder in an object store; a local one as it is.

  Args:
    path: The folder; see rn_jax.host.paths.place.
    part: What is copied, if it is there: a folder in it; else all is.
  """
  if not is_address(path):
    yield path
    return
  address = cast("Address", path)
  with tempfile.TemporaryDirectory(prefix="rn_jax-") as parent:
    folder = Path(parent) / path.name
    folder.mkdir()
    names = address.find()
    wanted = [name for name in names if name.startswith(f"{part}/")]
    address.download(wanted or names, folder)
    yield folder


@contextlib.contextmanager
def mirrored(path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
  """Gives a copy to work on, and what sends its changes to the object store.

      with mirrored(place("gs://bucket/run")) as (folder, push):
        (folder / "log").write_text("begun")
        push()

  In the end, and after an error, they are sent once more. New and changed
  files go first, one written before the other first; then what was removed is
  removed there. A local folder is given as it is, with nothing to send.

  Args:
    path: The folder; see rn_jax.host.paths.place.
  """
  if not is_address(path):
    yield path, lambda: None
    return
  with fetched(path) as folder:
    known = _states(folder)

    def push() -> None:
      nonlocal known
      now = _states(folder)
      changed = [name for name in now if known.get(name) != now[name]]
      address = cast("Address", path)
      for name in sorted(changed, key=lambda name: now[name]):
        (address / name).upload(folder / name)
      for name in known.keys() - now.keys():
        (address / name).unlink(missing_ok=True)
      known = now

    logging.info("%s: working on a copy in %s", path, folder)
    try:
      yield folder, push
    finally:
      push()


def _states(folder: Path) -> dict[str, tuple[int, int, int]]:
  """Returns of each file when it was written, its size and its number."""
  states = {}
  for path in folder.rglob("*"):
    if path.is_file():
      found = path.stat()
      name = path.relative_to(folder).as_posix()
      states[name] = found.st_mtime_ns, found.st_size, found.st_ino
  return states
