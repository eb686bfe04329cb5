"""COCO's compressed run-length encoding of masks.

A mask is read column by column. What is kept are the lengths of its runs, of
zeros and ones by turns and with those of zeros first; from the fourth on as the
difference to the one before the last. They are written as numbers of base 32,
the lowest digits first, with a bit for "goes on" and an offset of 48, so that
they are ASCII text.
"""

import itertools

import numpy as np
from jaxtyping import Bool

_MORE, _SIGN = 0x20, 0x10


def encode(mask: Bool[np.ndarray, "H W"]) -> str:
  """Returns what COCO calls the counts of a mask."""
  flat = mask.ravel(order="F")
  edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
  starts = [0, *edges.tolist(), flat.size]
  runs = [b - a for a, b in itertools.pairwise(starts)]
  if flat[:1].any():
    runs.insert(0, 0)
  text = bytearray()
  for i, run in enumerate(runs):
    value = run - runs[i - 2] if i > 2 else run
    while True:
      digit, value = value & 0x1F, value >> 5
      more = value != (-1 if digit & _SIGN else 0)
      text.append(48 + digit + _MORE * more)
      if not more:
        break
  return text.decode("ascii")


def decode(counts: str, height: int, width: int) -> Bool[np.ndarray, "H W"]:
  """Returns the mask of such counts.

  Raises:
    ValueError: They are not those of a mask of this size.
  """
  runs, value, shift = [], 0, 0
  for digit in counts.encode():
    digit -= 48
    value |= (digit & 0x1F) << shift
    shift += 5
    if digit & _MORE:
      continue
    if digit & _SIGN:
      value -= 1 << shift
    runs.append(value + runs[-2] if len(runs) > 2 else value)
    value = shift = 0
  if shift or sum(runs) != height * width or min(runs, default=0) < 0:
    raise ValueError(f"the runs do not make a mask of {width}x{height} pixels")
  ones = np.arange(len(runs)) % 2 == 1
  return np.repeat(ones, runs).reshape((height, width), order="F")
