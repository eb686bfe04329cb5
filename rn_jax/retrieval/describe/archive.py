"""Arrays and their description in one .npz that never runs anything.

The description is JSON in the array `metadata`; pickled arrays are refused. It
also names every other array with its SHA-256, so that none gets lost or
changed. Files without these hashes, of earlier versions, have the checksums of
the zip format only.
"""

import hashlib
import json
import math
import os
import struct
import zipfile
from collections.abc import Mapping
from typing import IO, Any, BinaryIO

import numpy as np

from rn_jax.host.atomic import replacing
from rn_jax.host.paths import place

# Key of the hashes in the description.
_HASHES = "arrays_sha256"
# Of a member's own header: lengths of its name and of what is behind the name.
_LOCAL_HEADER = struct.Struct("<26xHH")
_PIECE = 1 << 20  # bytes


class ArchiveError(ValueError):
  """The file is no such archive, or damaged."""


def write_archive(
  path: str | os.PathLike, header: Mapping, arrays: Mapping[str, np.ndarray]
) -> None:
  """Writes an archive, whole or not at all; `header` becomes JSON."""
  hashes = {name: _sha256(np.asarray(x)) for name, x in arrays.items()}
  text = json.dumps({**header, _HASHES: hashes}, allow_nan=False)
  # Through a file: savez would append .npz to a temporary name.
  with replacing(path) as temporary, open(temporary, "wb") as file:
    named: dict[str, Any] = {"metadata": np.array(text), **arrays}
    np.savez(file, **named)


def read_archive(
  path: str | os.PathLike,
) -> tuple[dict[str, np.ndarray], dict]:
  """Reads the arrays of an archive and its header.

  No more memory is taken than the file is large, whatever it says.

  Raises:
    ArchiveError: It is none, or damaged.
    OSError: It cannot be opened.
  """
  with place(path).open("rb") as file:
    try:
      if not zipfile.is_zipfile(file):
        raise ArchiveError("it is no .npz")
      with zipfile.ZipFile(file) as archive:
        _check_members(archive, file)
        arrays = {
          info.filename.removesuffix(".npy"): _read_array(archive, info)
          for info in archive.infolist()
        }
      header = json.loads(arrays.pop("metadata").item())
      if not isinstance(header, dict):
        raise ArchiveError("its metadata are no JSON object")
      _check_hashes(arrays, header.pop(_HASHES, None))
      return arrays, header
    except ArchiveError:
      raise
    except Exception as error:  # A damaged file can raise nearly anything.
      raise ArchiveError(str(error) or repr(error)) from error


def _check_members(archive: zipfile.ZipFile, file: BinaryIO) -> None:
  """Checks that the file is made of its members, one behind the other.

  Damaged lengths in the directory of a zip file hide members, or claim more
  than there is.
  """
  members = archive.infolist()
  if len({info.filename for info in members}) < len(members):
    raise ArchiveError("two of its arrays have one name")
  end = 0
  for info in sorted(members, key=lambda info: info.header_offset):
    if (
      info.compress_type != zipfile.ZIP_STORED
      or info.compress_size != info.file_size
    ):
      raise ArchiveError(f"{info.filename} is compressed")
    if info.header_offset != end:
      raise ArchiveError(f"there is a gap before {info.filename}")
    file.seek(end)
    lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    end += _LOCAL_HEADER.size + sum(lengths) + info.file_size
  if end != archive.start_dir:
    raise ArchiveError("arrays are missing, or are longer than they should be")


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
  """Reads a member of numbers or texts; the zip format checks its CRC."""
  with archive.open(info) as stream:
    shape, fortran, dtype = _read_header(stream)
    size = info.file_size - stream.tell()
    if dtype.kind not in "biufU" or not dtype.itemsize:
      raise ArchiveError(f"{info.filename} is of type {dtype}")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != size:
      raise ArchiveError(
        f"{info.filename} has {size} bytes, not those of {dtype} {list(shape)}"
      )
    content = np.empty(size, np.uint8)
    position = 0
    # To the end, and once more: there the CRC is compared.
    while piece := stream.read(_PIECE):
      content[position : position + len(piece)] = np.frombuffer(piece, np.uint8)
      position += len(piece)
  if position != size:
    raise ArchiveError(f"{info.filename} is cut short")
  array = content.view(dtype)
  if dtype.kind == "U":
    codes = content.view(np.dtype("u4").newbyteorder(dtype.byteorder))
    if codes.max(initial=0) > 0x10FFFF:
      raise ArchiveError(f"{info.filename} holds what is no text")
  return array.reshape(shape, order="F" if fortran else "C")


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
  version = np.lib.format.read_magic(stream)
  if version == (1, 0):
    return np.lib.format.read_array_header_1_0(stream)
  if version in ((2, 0), (3, 0)):  # 3.0 differs for names of fields only
    return np.lib.format.read_array_header_2_0(stream)
  raise ArchiveError(f"an array's format is version {version}")


def _check_hashes(arrays: Mapping[str, np.ndarray], hashes) -> None:
  if hashes is None:  # of an earlier version
    return
  if not isinstance(hashes, dict) or hashes.keys() != arrays.keys():
    raise ArchiveError("its arrays are not those that its metadata name")
  for name, array in arrays.items():
    if _sha256(array) != hashes[name]:
      raise ArchiveError(f"{name} is not as it was written")


def _sha256(array: np.ndarray) -> str:
  """A hash of an array's type, shape and values, in C order."""
  digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
  content = np.ascontiguousarray(array).reshape(-1)
  digest.update(content.view(np.uint8).data)
  return digest.hexdigest()
