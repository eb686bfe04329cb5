"""Paths as people write them: of this machine's files, or of object stores."""

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, cast

# Path("gs://bucket") has one slash; a Windows drive has one letter.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
# How files are named that are no UTF-8, in texts that are: caf\\udce9.png.
NAMES = "backslashreplace"
_STORES = ("gs", "s3")  # each with an extra of its name; see setup.py


def local_path(path: str | os.PathLike) -> str:
  """Returns a path of this machine's files, with `~` at its start expanded.

  Raises:
    ValueError: It is an address, such as gs://bucket/folder, which would
      otherwise name a folder `gs:`.
  """
  text = os.fspath(path)
  if _ADDRESS.match(text):
    raise ValueError(
      f"{text} is an address, and only local files are read and written here; "
      "name a local path: a copy of it, a mounted folder, or one to upload "
      "later (docs/paths.md lists what takes addresses)"
    )
  return os.path.expanduser(text)


def local_paths(
  paths: str | os.PathLike | Iterable[str | os.PathLike],
) -> list[str]:
  """Returns what local_path makes of each of some paths, or of a single one."""
  single = isinstance(paths, str | os.PathLike)
  return [local_path(path) for path in ([paths] if single else paths)]


def place(path: str | os.PathLike) -> Path:
  """Returns where something is: on this machine, or in an object store.

  Returns:
    A path of pathlib; or for an address, such as gs://bucket/folder, an
    addresses.Address, which does what the project asks of those.

  Raises:
    ValueError: It is an address of something else than an object store, or the
      package for that is not installed.
  """
  text = os.fspath(path)
  match = _ADDRESS.match(text)
  if not match:
    return Path(local_path(text))
  scheme, rest = match.groups()
  if scheme not in _STORES:
    raise ValueError(
      f"{text}: only local files are read and written, and addresses such as "
      f"{' and '.join(f'{s}://bucket/x' for s in _STORES)}; name a copy, or a "
      "mounted folder"
    )
  from rn_jax.host.addresses import Address  # most runs do without

  return cast(Path, Address.of(scheme, rest))


def is_address(path: str | os.PathLike) -> bool:
  """Returns whether a path is of an object store; see place."""
  return _ADDRESS.match(os.fspath(path)) is not None


def size_of(file: IO[bytes]) -> int:
  """Returns the bytes of a file that was opened here or in a store.

  It stands at its beginning afterwards.
  """
  size = file.seek(0, os.SEEK_END)
  file.seek(0)
  return size


def absolute(path: str | os.PathLike) -> str:
  """Returns a path that means the same in another folder."""
  return str(place(path).absolute())


def remove_folder(folder: Path, *, ignore_errors: bool = False) -> None:
  """Removes a folder and what is in it, which a store need not have.

  Args:
    folder: See place.
    ignore_errors: Of files on this machine, as in shutil.rmtree.
  """
  if is_address(folder):
    from rn_jax.host.addresses import Address

    cast(Address, folder).rmtree(missing_ok=True)
  else:
    shutil.rmtree(folder, ignore_errors=ignore_errors)


def names_apart(paths: Sequence[Path]) -> list[str]:
  """Returns what tells paths apart: x and y of a/x/run and a/y/run."""
  parts = [list(path.absolute().parts) for path in paths]
  if len(parts) == 1:
    return [parts[0][-1]]
  for end in (-1, 0):
    while all(len(p) > 1 for p in parts) and len({p[end] for p in parts}) == 1:
      for p in parts:
        p.pop(end)
  return ["/".join(p) for p in parts]
