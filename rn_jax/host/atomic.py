"""Files that are either whole or not there, whatever happens meanwhile."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from rn_jax.host.paths import local_path


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
  """Gives a temporary path beside `path` to write; then moves it there.

      with replacing("results.json") as temporary:
        temporary.write_text(text)

  The content is on the disk before it gets its name. If the block raises, what
  it wrote is removed and `path` stays as it was.

  Args:
    path: File to write; an existing one is replaced.
  """
  path = Path(local_path(path))
  # With the process, so that two of them never write the same file.
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    yield temporary
    with open(temporary, "rb+") as file:
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def leftovers(folder: Path) -> list[Path]:
  """Returns the temporary files in a folder: of programs killed or at work."""
  return sorted(folder.glob(".*.tmp"))
