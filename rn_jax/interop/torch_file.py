"""Reads and writes PyTorch's files of named tensors, without PyTorch.

Both of its formats are read: pickles in a row followed by the raw numbers
(until 1.5; the reference's published weights), and a zip archive (since 1.6).
The zip archive is written. Nothing in a file is ever run, see
`tensor_pickle`.
"""

import io
import math
import os
import reprlib
import struct
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from rn_jax.host.atomic import replacing
from rn_jax.interop import tensor_pickle
from rn_jax.interop.tensor_pickle import Storage, Tensor, TorchFileError

__all__ = ["TorchFileError", "read_state_dict", "write_state_dict"]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# Where torch puts the first byte of every record, in bytes.
_ALIGNMENT = 64
# Where training programs put the state dict, if there are others beside it.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads the tensors of a file made by torch.save(model.state_dict(), path).

  The state dict may lie within other dictionaries, whatever else is in them;
  of several, equally deep, it is the one called "state_dict",
  "model_state_dict" or "model".

  Returns:
    {name: read-only array}, in the order of the file.

  Raises:
    TorchFileError: The file is no such file, is damaged, or its pickle asks
      for anything but tensors. Nothing has been run.
    OSError: The file cannot be opened.
  """
  try:
    with open(path, "rb") as file:
      content, blocks = read_content(file)
    return {
      name: as_array(name, tensor, blocks)
      for name, tensor in _find_state_dict(content).items()
    }
  except TorchFileError as error:
    raise TorchFileError(f"{path}: {error}") from error


def read_content(file: BinaryIO) -> tuple[object, dict[str, np.ndarray]]:
  """Reads what torch.save wrote, whatever it is.

  Args:
    file: An open file, at its start.

  Returns:
    Plain values, with Tensor for tensors, and the storages they view by key,
    for `as_array`.

  Raises:
    TorchFileError: As read_state_dict does.
  """
  head = file.read(4)
  file.seek(0)
  if head == b"PK\x03\x04":
    return _read_zip(file)
  if head[:1] == b"\x80":
    return _read_legacy(file)
  raise TorchFileError("not a file written by torch.save")


def _find_state_dict(content: object) -> dict[str, Tensor]:
  # Level by level: an optimizer's tensors lie deeper than the network's.
  level = [("", content)]
  seen = set()
  while level:
    inner = [
      (key, value)
      for key, value in level
      if isinstance(value, dict) and value and id(value) not in seen
    ]
    found = [item for item in inner if _is_state_dict(item[1])]
    if len(found) > 1:
      found = [item for item in found if item[0] in _WRAPPERS] or found
    if len(found) > 1:
      names = reprlib.repr([key for key, _ in found])
      raise TorchFileError(
        f"it holds several state dicts, {names}; save one of them alone"
      )
    if found:
      return found[0][1]
    seen.update(id(value) for _, value in inner)
    level = [item for _, value in inner for item in value.items()]
  if not isinstance(content, dict) or not content:
    raise TorchFileError(
      "it does not hold a state dict (a dictionary of named tensors)"
    )
  name, value = next(
    (name, value)
    for name, value in content.items()
    if not isinstance(name, str) or not isinstance(value, Tensor)
  )
  raise TorchFileError(
    f"entry {name!r} of its state dict is of type {type(value).__name__}, "
    "not a tensor"
  )


def _is_state_dict(content: dict) -> bool:
  return all(
    isinstance(name, str) and isinstance(value, Tensor)
    for name, value in content.items()
  )


def _read_legacy(file: BinaryIO) -> tuple[object, dict[str, np.ndarray]]:
  """Reads magic number, version, system, content and keys; then storages."""
  load = tensor_pickle.load
  if load(file) != LEGACY_MAGIC:
    raise TorchFileError("not a file written by torch.save")
  if load(file) != _LEGACY_PROTOCOL:
    raise TorchFileError("its version of the old torch format is unknown")
  system = load(file)
  if not isinstance(system, dict) or not system.get("little_endian"):
    raise TorchFileError("it was written on a big-endian machine")
  content = load(file)
  keys = load(file)
  storages = _storages(content)
  if (
    not isinstance(keys, list)
    or not all(isinstance(key, str) for key in keys)
    or sorted(keys) != sorted(storages)
  ):
    raise TorchFileError("its list of storages does not match its tensors")
  end = os.fstat(file.fileno()).st_size
  blocks = {}
  for key in keys:
    storage = storages[key]
    size = file.read(8)
    num_bytes = storage.size * storage.dtype.itemsize
    if len(size) < 8 or num_bytes > end - file.tell():
      raise TorchFileError(f"it ends within storage {key}: it is cut short")
    if struct.unpack("<q", size)[0] != storage.size:
      raise TorchFileError(f"storage {key} is not as long as its tensors say")
    blocks[key] = np.frombuffer(file.read(num_bytes), storage.dtype)
  return content, blocks


def _read_zip(file: BinaryIO) -> tuple[object, dict[str, np.ndarray]]:
  """Reads `<prefix>/data.pkl` and the storages `<prefix>/data/<key>`."""
  try:
    with zipfile.ZipFile(file) as archive:
      return _read_archive(archive, os.fstat(file.fileno()).st_size)
  except TorchFileError:
    raise
  except Exception as error:  # A damaged archive can raise nearly anything.
    raise TorchFileError(
      f"its zip archive is damaged or cut short ({error})"
    ) from error


def _read_archive(
  archive: zipfile.ZipFile, file_size: int
) -> tuple[object, dict[str, np.ndarray]]:
  records = {info.filename: info for info in archive.infolist()}
  # Torch stores without compression, so what is read cannot be larger.
  if any(r.compress_type != zipfile.ZIP_STORED for r in records.values()):
    raise TorchFileError("its zip archive is compressed; torch never does that")
  if sum(record.file_size for record in records.values()) > file_size:
    raise TorchFileError("its records claim more bytes than the file has")
  pickles = [name for name in records if name.count("/") == 1]
  pickles = [name for name in pickles if name.endswith("/data.pkl")]
  if len(pickles) != 1:
    raise TorchFileError("a zip archive, but not one written by torch.save")
  prefix = pickles[0].removesuffix("data.pkl")
  byte_order = f"{prefix}byteorder"
  if byte_order in records and archive.read(byte_order) != b"little":
    raise TorchFileError("it was written on a big-endian machine")
  content = tensor_pickle.load(io.BytesIO(archive.read(pickles[0])))
  blocks = {}
  for key, storage in _storages(content).items():
    record = records.get(f"{prefix}data/{key}")
    if record is None:
      raise TorchFileError(f"storage {key} is missing")
    if record.file_size != storage.size * storage.dtype.itemsize:
      raise TorchFileError(
        f"storage {key} has {record.file_size} bytes, which is not "
        f"{storage.size} numbers of type {storage.dtype}"
      )
    blocks[key] = np.frombuffer(archive.read(record), storage.dtype)
  return content, blocks


def _storages(content: object) -> dict[str, Storage]:
  """Finds the storages of all tensors in a pickle's content."""
  found = {}
  seen = set()
  waiting = [content]
  while waiting:
    value = waiting.pop()
    if id(value) in seen:
      continue
    seen.add(id(value))
    if isinstance(value, Tensor):
      storage = value.storage
      if found.setdefault(storage.key, storage) != storage:
        raise TorchFileError(f"storage {storage.key} is described twice")
    elif isinstance(value, dict):
      waiting += value.values()
    elif isinstance(value, list | tuple):
      waiting += value
  return found


def as_array(
  name: str, tensor: Tensor, blocks: dict[str, np.ndarray]
) -> np.ndarray:
  """Returns the view of a storage that a tensor is, if it lies within it."""
  storage, offset, shape, strides = tensor
  numbers = (offset, *shape, *strides)
  described = (
    f"tensor {name} of shape {reprlib.repr(shape)}, strides "
    f"{reprlib.repr(strides)} and offset {reprlib.repr(offset)}"
  )
  good = all(type(n) is int and n >= 0 for n in numbers)
  if not good or len(shape) != len(strides) or len(shape) > 16:
    raise TorchFileError(f"{described} is none")
  count = math.prod(shape)
  last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
  if count > storage.size or (count and last >= storage.size):
    raise TorchFileError(
      f"{described} reaches beyond its storage of {storage.size} numbers"
    )
  if not count:
    try:
      return np.zeros(shape, storage.dtype)
    except ValueError as error:  # the other sides are too long
      raise TorchFileError(f"{described}: {error}") from None
  itemsize = storage.dtype.itemsize
  return np.lib.stride_tricks.as_strided(
    blocks[storage.key][offset:],
    shape,
    # A single step is never taken, however long.
    [s * itemsize if n > 1 else 0 for n, s in zip(shape, strides, strict=True)],
    writeable=False,
  )


def write_state_dict(
  path: str | os.PathLike, tensors: Mapping[str, np.ndarray]
) -> None:
  """Writes tensors as torch.save would; torch.load(weights_only=True) reads it.

  Args:
    path: The file to write; an existing one is replaced.
    tensors: {name: array}.

  Raises:
    ValueError: A tensor's dtype has no torch storage.
  """
  arrays = {}
  views = {}
  for name, value in tensors.items():
    array = np.asarray(value, order="C")
    key = str(len(arrays))
    arrays[key] = array
    strides = tuple(stride // array.itemsize for stride in array.strides)
    storage = Storage(key, array.dtype, array.size)
    views[name] = Tensor(storage, 0, array.shape, strides)
  content = tensor_pickle.dump(views)
  with (
    replacing(path) as temporary,
    zipfile.ZipFile(temporary, "w") as archive,
  ):
    _add(archive, "data.pkl", content)
    _add(archive, "byteorder", b"little")
    for key, array in arrays.items():
      _add(archive, f"data/{key}", array.tobytes())
    _add(archive, "version", b"3\n")


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
  """Adds a record, padded so that its data can be mapped into memory."""
  info = zipfile.ZipInfo(f"archive/{name}")
  assert archive.fp is not None  # it is open
  header = archive.fp.tell() + 30 + len(info.filename) + 4
  padding = -header % _ALIGNMENT
  info.extra = struct.pack("<2sH", b"FB", padding) + bytes(padding)
  archive.writestr(info, data)
