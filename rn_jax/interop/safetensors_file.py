"""Reads and writes safetensors files.

The format is a length, a JSON header with dtype, shape and place of each
tensor, and the numbers in a row; it holds nothing that could run.
"""

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

from rn_jax.host.atomic import replacing

_DTYPES = {
  "F64": np.dtype("<f8"),
  "F32": np.dtype("<f4"),
  "F16": np.dtype("<f2"),
  "BF16": np.dtype(ml_dtypes.bfloat16),
  "I64": np.dtype("<i8"),
  "I32": np.dtype("<i4"),
  "I16": np.dtype("<i2"),
  "I8": np.dtype("i1"),
  "U8": np.dtype("u1"),
  "BOOL": np.dtype("?"),
}


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads all tensors of a file as read-only arrays, by name.

  Raises:
    ValueError: The file is damaged or not a safetensors file.
    OSError: The file cannot be opened.
  """
  content = Path(path).read_bytes()
  try:
    return _parse(content)
  except (struct.error, ValueError, TypeError, KeyError, AttributeError) as e:
    raise ValueError(
      f"{path}: not a safetensors file, or damaged or cut short ({e!r})"
    ) from e


def _parse(content: bytes) -> dict[str, np.ndarray]:
  (length,) = struct.unpack_from("<Q", content)
  if length > len(content) - 8:
    raise ValueError("its header is longer than the file")
  header = json.loads(content[8 : 8 + length])
  body = memoryview(content)[8 + length :]
  tensors = {}
  expected = 0
  for name, entry in sorted(
    ((k, v) for k, v in header.items() if k != "__metadata__"),
    key=lambda item: item[1]["data_offsets"],
  ):
    dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
    begin, end = entry["data_offsets"]
    size = math.prod(shape) * dtype.itemsize
    if begin != expected or end - begin != size or end > len(body):
      raise ValueError(f"tensor {name} is not where its shape says")
    expected = end
    tensors[name] = np.frombuffer(body[begin:end], dtype).reshape(shape)
  if expected != len(body):
    raise ValueError("the file is longer than its tensors")
  return tensors


def write_safetensors(
  path: str | os.PathLike, tensors: Mapping[str, np.ndarray]
) -> None:
  """Writes tensors; an existing file is replaced.

  Raises:
    ValueError: The format has no name for a tensor's dtype.
  """
  names = {dtype: name for name, dtype in _DTYPES.items()}
  header = {}
  blocks = []
  begin = 0
  for name, value in tensors.items():
    array = np.asarray(value)
    if array.dtype not in names:
      raise ValueError(f"tensor {name}: safetensors has no {array.dtype}")
    blocks.append(array.tobytes())
    end = begin + len(blocks[-1])
    header[name] = {
      "dtype": names[array.dtype],
      "shape": array.shape,
      "data_offsets": (begin, end),
    }
    begin = end
  text = json.dumps(header, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)  # So that the numbers are aligned.
  head = struct.pack("<Q", len(text))
  with replacing(path) as temporary:
    temporary.write_bytes(b"".join([head, text, *blocks]))
