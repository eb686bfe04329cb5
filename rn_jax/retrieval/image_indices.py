"""Image indices as callers give them."""

import numbers
from collections.abc import Iterable


def image_indices(values: Iterable[int]) -> list[int]:
  """Returns image indices as plain numbers; those of NumPy are taken, too.

  Raises:
    ValueError: It is no list, or something in it is no whole number.
  """
  if isinstance(values, str | bytes) or not isinstance(values, Iterable):
    raise ValueError(f"{values!r} is no list of image indices, such as [3, 7]")
  values = list(values)
  for value in values:
    if not is_index(value):
      raise ValueError(f"{value!r} is no image index, a whole number")
  return list(map(int, values))


def is_index(value) -> bool:
  """Returns whether a value is a whole number, not True or False."""
  # NumPy's True is no Integral, Python's is.
  return isinstance(value, numbers.Integral) and not isinstance(value, bool)
