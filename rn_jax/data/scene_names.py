"""Which scene a question is about, by the names that files have for it."""

import collections
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np

# Of CLEVR's files: CLEVR_val_000000.png may lie about as 000000.png.
_PREFIX = re.compile(r"^CLEVR_[^_]+_")


class SceneNames:
  """Finds scenes by image_filename, image or image_index of a question.

  A name may have folders before it, and lack its suffix or the prefix
  CLEVR_<split>_; the exact one counts first. Another split's prefix is never
  taken for this one's.
  """

  def __init__(
    self,
    names: Sequence[str] | np.ndarray,
    read_indices: Callable[[], Sequence[int | None]] | None,
    place: str,
  ):
    """Takes the names of scenes, whose places in the order are their rows.

    Args:
      names: The file of each.
      read_indices: Returns the image_index of each, None where it has none,
        when first needed; None: none has one.
      place: What errors call where the scenes are.
    """
    self._names, self._read_indices, self._place = names, read_indices, place
    # By the whole name, without folders, without suffix, and without prefix.
    self._rows = [collections.defaultdict(list) for _ in range(4)]
    for row, name in enumerate(map(str, names)):
      last, stem, bare = _forms(name)
      known = (name, last, stem, bare if bare != stem else None)
      for table, form in zip(self._rows, known, strict=True):
        if form is not None:
          table[form].append(row)

  def row(self, fields: Mapping) -> int:
    """Returns the row of the scene that a question is about.

    Args:
      fields: Of the question, by name.

    Raises:
      ValueError: There is no such scene, or there are several; to be read
        behind a name of the question.
    """
    for name in ("image_filename", "image"):
      given = fields.get(name)
      if isinstance(given, str) and given:
        return self._by_name(given)
      if given is not None and not (name == "image" and type(given) is int):
        raise ValueError(f"has the {name} {given!r}, which is no file's name")
    index = fields.get("image_index", fields.get("image"))
    if index is None:
      raise ValueError(
        "does not say which scene it is about; give its image_filename"
      )
    return self._by_index(index)

  def _by_name(self, name: str) -> int:
    last, stem, bare = _forms(name)
    whole, lasts, stems, bares = self._rows
    for table, form in (
      (whole, name),
      (lasts, last),
      (stems, last),
      (stems, stem),
      (bares, stem) if bare == stem else (stems, bare),
    ):
      if form in table:
        return self._only(table[form], repr(name), "give more of its path")
    if name.isdecimal() and self._read_indices is not None:
      return self._by_index(int(name))  # as tables have an image's number
    raise ValueError(
      f"is about {name!r}, which is not in {self._place} (its scenes are "
      f"called like {self._names[0]}); give the scenes that it is about, or "
      "leave the question out"
    )

  def _by_index(self, index: object) -> int:
    if type(index) is not int:
      raise ValueError(f"has the image_index {index!r}, no whole number")
    if self._read_indices is None:
      raise ValueError(
        f"has only an image_index, but files in {self._place} have none; give "
        "its image_filename"
      )
    if index not in self._by_number:
      raise ValueError(
        f"is about image_index {index}, which is not in {self._place} "
        f"({len(self._names):,} scenes); give the scenes that it is about, or "
        "leave the question out"
      )
    remedy = "give its image_filename"
    return self._only(self._by_number[index], f"image_index {index}", remedy)

  @functools.cached_property
  def _by_number(self) -> dict[int | None, list[int]]:
    assert self._read_indices is not None
    rows = collections.defaultdict(list)
    for row, index in enumerate(self._read_indices()):
      rows[index].append(row)
    return rows

  def _only(self, rows: list[int], what: str, remedy: str) -> int:
    if len(rows) == 1:
      return rows[0]
    raise ValueError(
      f"is about {what}, which may be {self._names[rows[0]]} or "
      f"{self._names[rows[1]]} in {self._place}; {remedy}"
    )


def _forms(name: str) -> tuple[str, str, str]:
  """Returns a name without folders; also without suffix, and prefix."""
  last = PureWindowsPath(name).name  # either slash parts folders
  stem = PurePosixPath(last).stem
  return last, stem, _PREFIX.sub("", stem, count=1)
