"""Paths in object stores, such as gs://bucket/folder.

An object store keeps whole objects under names. It has no folders, locks or
renaming, and nothing is appended: an object is there when all of it is sent.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import fsspec
import fsspec.config
from etils.epath.gpath import PosixGPath

# The same way to all stores, whether or not TensorFlow is installed.
os.environ.setdefault("EPATH_USE_TF", "false")
# Other processes write, too: what was listed before is not all that is there.
for _protocol in ("gcs", "s3"):
  fsspec.config.conf.setdefault(_protocol, {})["use_listings_cache"] = False

_BUFFER = 1 << 20  # bytes


class Address(PosixGPath):
  """A path in an object store, with the methods of pathlib that are used here.

  They raise FileNotFoundError and PermissionError as those of files do; where
  a store cannot be asked at all, whatever its package raises.
  """

  @classmethod
  def of(cls, scheme: str, rest: str) -> "Address":
    """Returns the address `scheme`://`rest`.

    Raises:
      ValueError: No bucket is named, or a package is missing.
    """
    text = f"{scheme}://{rest}"
    if not rest.strip("/"):
      raise ValueError(f"{text}: name a bucket, as in {scheme}://bucket/folder")
    try:
      fsspec.get_filesystem_class(scheme)
    except ImportError as error:
      raise ValueError(
        f"{text}: {scheme}:// needs another package ({error}): pip install "
        f"'rn_jax[{scheme}]'"
      ) from None
    return cls(text)

  def _store(self) -> tuple[Any, str]:
    return fsspec.url_to_fs(str(self))

  def check(self) -> None:
    """Asks the store for what is here, if anything is.

    Raises:
      ValueError: It does not answer, or lacks the bucket.
    """
    store, key = self._store()
    bucket = key.strip("/").partition("/")[0]
    for asked in (key, bucket):
      try:
        store.ls(asked, detail=False)
        return
      except FileNotFoundError:
        pass
      except Exception as error:  # each package has its own
        if asked == key:
          raise ValueError(
            f"{self} cannot be reached ({error or repr(error)}); are address, "
            "network and credentials right?"
          ) from error
        return  # other parts of the bucket may be closed to us
    raise ValueError(f"{self}: there is no bucket {bucket}; make it first")

  def absolute(self) -> "Address":
    return self

  def resolve(self, strict: bool = False) -> "Address":
    del strict
    return self

  def mkdir(self, mode=0o777, parents=False, exist_ok=False) -> None:
    """Does nothing: names may have slashes without any folder."""

  def open(self, mode="r", encoding=None, newline=None) -> IO:  # pyright: ignore[reportIncompatibleMethodOverride]
    """Opens it for reading; for writing see rn_jax.host.atomic.replacing."""
    if mode not in ("r", "rb"):
      raise ValueError(f"{self}: objects are not opened with mode {mode!r}")
    store, key = self._store()
    file = io.BufferedReader(store.open(key, "rb"), _BUFFER)
    if mode == "rb":
      return file
    return io.TextIOWrapper(file, encoding or "utf-8", newline=newline)

  def read_text(self, encoding: str | None = None) -> str:
    with self.open(encoding=encoding) as file:
      return file.read()

  def write_bytes(self, data: bytes) -> int:
    store, key = self._store()
    store.pipe_file(key, data)
    return len(data)

  def upload(self, file: Path) -> None:
    """Puts the content of a file here, whole or not at all."""
    store, key = self._store()
    store.put_file(str(file), key)

  def find(self) -> list[str]:
    """Returns the names of all objects below, as paths from here."""
    store, key = self._store()
    names = [name.removeprefix(key).lstrip("/") for name in store.find(key)]
    # Consoles mark folders by objects whose names end so.
    return [name for name in names if name and not name.endswith("/")]

  def download(self, names: Sequence[str], folder: Path) -> None:
    """Copies objects below into a folder of this machine.

    Raises:
      ValueError: A name is no path of a file within a folder.
    """
    paths = [folder / name for name in names]
    for name, path in zip(names, paths, strict=True):
      if ".." in path.parts or Path(name).is_absolute() or not name:
        raise ValueError(f"{self}: holds {name!r}, which is no name of a file")
      path.parent.mkdir(parents=True, exist_ok=True)
    store, key = self._store()
    store.get([f"{key}/{name}" for name in names], [str(p) for p in paths])

  def entries(self) -> dict[str, str]:
    """Returns names of the objects in this folder, and a text for each.

    The text differs when the content does: size, and the store's own tag.
    """
    store, key = self._store()
    found = {}
    for info in store.ls(key, detail=True):
      tag = info.get("ETag") or info.get("etag")
      name = info["name"].rpartition("/")[2]
      found[name] = f"{info['size']} {tag}"
    return found
