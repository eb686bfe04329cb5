"""Reads CLEVR's JSON files as a stream.

The questions of the train split are about a gigabyte of JSON and several
times that as Python objects; only one element is decoded at a time here.
"""

import codecs
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ijson
import numpy as np

from rn_jax.host.paths import place, size_of
from rn_jax.host.progress import progress_bar

# CLEVR's go 5 deep. Deeper ones take ijson memory with the square of it.
_MAX_DEPTH = 64
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class SourceError(ValueError):
  """The data to convert are missing, damaged, or contradict themselves."""


class Nesting:
  """Follows how deep JSON is nested, before anything parses it.

  Attributes:
    lists: How many lists have begun directly within the whole.
  """

  def __init__(self):
    self.lists = 0
    self._depth = 0
    self._in_text = False
    self._backslash = b""  # one that the piece before ended with

  def follow(self, data: bytes) -> None:
    """Takes the next piece of a file.

    Raises:
      ValueError: It is nested too deep.
    """
    data = _ESCAPED.sub(b"", self._backslash + data)
    self._backslash = b"\\" if data.endswith(b"\\") else b""
    pieces = data.split(b'"')  # by turns without and within quotes
    code = b"".join(pieces[int(self._in_text) :: 2])
    self._in_text ^= len(pieces) % 2 == 0
    brackets = np.frombuffer(code.translate(None, _NO_BRACKETS), np.uint8)
    # Opening ones have this bit, closing ones have not.
    depths = self._depth + np.cumsum((brackets & 2).astype(np.int64) - 1)
    if depths.max(initial=0) > _MAX_DEPTH:
      raise ValueError(f"lists and objects nested more than {_MAX_DEPTH} deep")
    self._depth = int(depths[-1]) if depths.size else self._depth
    self.lists += int(((depths == 2) & (brackets == ord("["))).sum())


class _Watched:
  """A file to parse that has no bottomless nesting, and one list of a name.

  `once` is its path, and that name. Others are given all that is read as well.
  """

  def __init__(
    self,
    file,
    *others: Callable[[bytes], object],
    once: tuple[Path, str] | None = None,
  ):
    self._file, self._once, self._others = file, once, others
    self._nesting = Nesting()
    # Some editors begin a file with a mark of UTF-8, which JSON does not have.
    if file.peek(3)[:3] == codecs.BOM_UTF8:
      self.read(3)

  def read(self, size: int) -> bytes:
    data = self._file.read(size)
    self._nesting.follow(data)
    if self._once and self._nesting.lists > 1:
      _check_once(*self._once)
      self._once = None
    for take in self._others:
      take(data)
    return data


def _check_once(path: Path, key: str) -> None:
  """Checks that an object has a key once; else its lists would be joined.

  This takes several times as long as reading its elements, so only files with
  more than one list are looked at.

  Raises:
    SourceError: It has the key more often.
  """
  with path.open("rb") as file:
    count = sum(
      event == ("", "map_key", key) for event in ijson.parse(_Watched(file))
    )
  if count > 1:
    raise SourceError(
      f"{path}: holds {count} lists {key!r}, so it is not clear which counts;"
      " leave one, or join them"
    )


def read_value(path: str | os.PathLike, key: str) -> Any:
  """Returns what a JSON file holds under a key, None where it does not.

  Raises:
    SourceError: The file is broken before that.
    OSError: It cannot be opened.
  """
  with place(path).open("rb") as file:
    try:
      return next(ijson.items(_Watched(file), key, use_float=True), None)
    except (ijson.JSONError, ValueError, ArithmeticError) as error:
      raise SourceError(f"{path}: broken JSON ({_reason(error)})") from None


def read_info(path: str | os.PathLike) -> dict:
  """Returns what a file says of itself, {} where it says nothing.

  Raises:
    OSError: It cannot be opened.
  """
  try:
    info = read_value(path, "info")
  except SourceError:
    return {}
  return info if isinstance(info, dict) else {}


def read_elements(
  path: str | os.PathLike, key: str, digest=None
) -> Iterator[dict]:
  """Yields the elements of the list that a JSON file holds under a key.

  Args:
    path: JSON file with an object at its top, such as CLEVR's
      `{"info": {...}, "questions": [...]}`.
    key: Name of the list, "questions" or "scenes".
    digest: Hash object that is fed the whole file; None: there is none.

  Raises:
    SourceError: The file is missing or cut off, or the list is missing, empty
      or no list of objects, or there are several.
  """
  path = place(path)
  number = -1
  takers = [digest.update] if digest else []
  try:
    with (
      path.open("rb") as file,
      progress_bar(
        total=size_of(file),
        desc=path.name,
        unit="B",
        unit_scale=True,
        delay=1,  # small files need no bar
      ) as bar,
    ):
      elements = ijson.items(
        _Watched(file, *takers, lambda x: bar.update(len(x)), once=(path, key)),
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
      f"{path}: no such file; a CLEVR folder holds images/, scenes/ and"
      " questions/ as CLEVR_v1.0 does"
    ) from None
  except SourceError:
    raise
  except (ijson.JSONError, ValueError, ArithmeticError) as error:
    raise SourceError(
      f"{path}: broken JSON after {number + 1} {key} ({_reason(error)});"
      " download, unpack or generate the file again"
    ) from None
  if number < 0:
    raise SourceError(f"{path}: holds no {key}")


def _reason(error: Exception) -> str:
  """Returns the first line of an error; ijson draws an arrow below it."""
  text = error.args[0] if error.args else error
  # Where the file is no text, it is given as bytes.
  text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
  return text.partition("\n")[0].strip()
