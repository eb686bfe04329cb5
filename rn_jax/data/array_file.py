"""Named arrays in one file, checked when it is opened and then memory-mapped.

A file is `data | index | footer`. The data are the arrays' bytes, each array
from a multiple of 4,096 on; the index is JSON: a key, name, type, shape and
offset of each array, and a CRC-32 of every 16 MiB of data; the footer is
`length of the index (uint64) | CRC-32 of the index (uint32) | magic`, both
little-endian. Opening a file reads all of it once, on all cores; afterwards it
takes as much memory as the system has to spare, for its pages can be dropped
and read again.
"""

import json
import math
import os
import struct
import zlib
from collections.abc import Iterable
from concurrent import futures
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

_BLOCK = 1 << 24
_ALIGNMENT = 4096
_FOOTER = struct.Struct("<QI8s")
_MAGIC = b"rnarray1"


class ArrayFileError(ValueError):
  """A file is damaged, cut off, or not of this kind."""


class ArrayStream(NamedTuple):
  """An array that comes in parts, so that it need not fit into memory.

  Attributes:
    name: What to call it.
    dtype: Its type.
    shape: Its shape.
    parts: Arrays that make it when joined along the first axis; to be used up
      before the next stream is asked for.
  """

  name: str
  dtype: DTypeLike
  shape: tuple[int, ...]
  parts: Iterable[np.ndarray]


def join(streams: Iterable[ArrayStream]) -> dict[str, np.ndarray]:
  """Returns the streams as arrays in memory."""
  arrays = {}
  for stream in streams:
    out = arrays[stream.name] = np.empty(stream.shape, stream.dtype)
    row = 0
    for part in stream.parts:
      out[row : row + len(part)] = part
      row += len(part)
    _check_rows(stream, row)
  return arrays


def _check_rows(stream: ArrayStream, rows: int) -> None:
  if rows != stream.shape[0]:
    raise ValueError(f"{stream.name} has {rows} rows, not {stream.shape[0]}")


def write_array_file(
  path: str | os.PathLike, key: str, streams: Iterable[ArrayStream]
) -> None:
  """Writes a file of arrays; nobody may read it before it is complete.

  Args:
    path: File to write.
    key: Says what the arrays were made from; readers ask for it.
    streams: The arrays.
  """
  size = checksum = 0
  checksums, arrays = [], {}
  with open(path, "wb") as file:

    def write(data: memoryview) -> None:
      nonlocal size, checksum
      while data:
        part, data = (
          data[: _BLOCK - size % _BLOCK],
          data[_BLOCK - size % _BLOCK :],
        )
        file.write(part)
        checksum = zlib.crc32(part, checksum)
        size += len(part)
        if size % _BLOCK == 0:
          checksums.append(checksum)
          checksum = 0

    for stream in streams:
      write(memoryview(bytes(-size % _ALIGNMENT)))
      dtype, rows = np.dtype(stream.dtype), 0
      arrays[stream.name] = {
        "dtype": dtype.str,
        "shape": stream.shape,
        "offset": size,
      }
      for part in stream.parts:
        part = np.ascontiguousarray(part, dtype)
        write(part.reshape(-1).view(np.uint8).data)
        rows += len(part)
      _check_rows(stream, rows)
    index = {
      "key": key,
      "size": size,
      "checksums": checksums + [checksum] * (size % _BLOCK > 0),
      "arrays": arrays,
    }
    encoded = json.dumps(index).encode()
    file.write(encoded)
    file.write(_FOOTER.pack(len(encoded), zlib.crc32(encoded), _MAGIC))


def read_array_file(
  path: str | os.PathLike, key: str
) -> dict[str, np.ndarray] | None:
  """Maps the arrays of a file into memory, read-only, after checking all.

  Args:
    path: File to read.
    key: The key it was written with.

  Returns:
    The arrays by name; None if the file has another key.

  Raises:
    FileNotFoundError: There is no such file.
    ArrayFileError: Its bytes are not those that were written.
  """
  if os.path.getsize(path) < _FOOTER.size:
    raise ArrayFileError(f"{path} is cut off")
  data = np.asarray(np.memmap(path, np.uint8, "r"))
  index_size, checksum, magic = _FOOTER.unpack(data[-_FOOTER.size :].data)
  size = len(data) - _FOOTER.size - index_size
  if magic != _MAGIC or size < 0:
    raise ArrayFileError(f"{path} is cut off or no file of arrays")
  encoded = data[size : -_FOOTER.size]
  if zlib.crc32(encoded.data) != checksum:
    raise ArrayFileError(f"{path}: its index is damaged")
  index = json.loads(encoded.tobytes())
  if index["key"] != key:
    return None
  blocks = [data[i : min(i + _BLOCK, size)] for i in range(0, size, _BLOCK)]
  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    found = list(pool.map(zlib.crc32, blocks))
  if size != index["size"] or found != index["checksums"]:
    raise ArrayFileError(f"{path}: its data are damaged")
  arrays = {}
  for name, entry in index["arrays"].items():
    dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
    end = entry["offset"] + math.prod(shape) * dtype.itemsize
    arrays[name] = data[entry["offset"] : end].view(dtype).reshape(shape)
  return arrays
