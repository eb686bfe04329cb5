"""Reads CLEVR's JSON files as a stream.

The questions of the train split are about a gigabyte of JSON and several
times that as Python objects; only one element is decoded at a time here.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import ijson

from rn_jax.host.progress import progress_bar


class SourceError(ValueError):
  """The data to convert are missing, damaged, or contradict themselves."""


class _Watched:
  """Feeds what is read from a file to a digest and a progress bar as well."""

  def __init__(self, file, digest, bar):
    self._file, self._digest, self._bar = file, digest, bar

  def read(self, size: int) -> bytes:
    data = self._file.read(size)
    self._digest.update(data)
    self._bar.update(len(data))
    return data


def read_elements(path: str | os.PathLike, key: str, digest) -> Iterator[dict]:
  """Yields the elements of the list that a JSON file holds under a key.

  Args:
    path: JSON file with an object at its top, such as CLEVR's
      `{"info": {...}, "questions": [...]}`.
    key: Name of the list, "questions" or "scenes".
    digest: Hash object that is fed the whole file.

  Raises:
    SourceError: The file is missing or cut off, or the list is missing, empty
      or no list of objects.
  """
  path = Path(path)
  number = -1
  try:
    with (
      open(path, "rb") as file,
      progress_bar(
        total=path.stat().st_size,
        desc=path.name,
        unit="B",
        unit_scale=True,
        delay=1,  # small files need no bar
      ) as bar,
    ):
      elements = ijson.items(
        _Watched(file, digest, bar),
        f"{key}.item",
        use_float=True,
        buf_size=1 << 20,
      )
      for number, element in enumerate(elements):
        if not isinstance(element, dict):
          raise SourceError(f"{path}: {key} {number} is no JSON object")
        yield element
  except FileNotFoundError:
    raise SourceError(
      f"{path}: no such file; --clevr_dir must hold images/, scenes/ and"
      " questions/ as CLEVR_v1.0 does"
    ) from None
  except (ijson.JSONError, UnicodeDecodeError) as error:
    raise SourceError(
      f"{path}: broken JSON after {number + 1} {key} ({error}); download,"
      " unpack or generate the file again"
    ) from None
  if number < 0:
    raise SourceError(f"{path}: holds no {key}; the split is empty")
