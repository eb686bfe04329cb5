"""Pickled feature lists, read without running what they say.

The reference implementation saves features as a pickle of a list of (batch
index, array [B, D]). The array is numpy's or torch's, and the file was written
by pickle.dump of any protocol or by torch.save. As in tensor_pickle.py, only
the names that such a list needs are known, and all of them are stand-ins.
"""

import io
import os
import re
import reprlib
from typing import BinaryIO

import numpy as np

from rn_jax.interop import tensor_pickle, torch_file
from rn_jax.interop.tensor_pickle import Storage, Tensor, TorchFileError

# What lists of numpy arrays use beyond state dicts, protocol 0 included.
_OPCODES = frozenset(
  """
  GET PUT INT LONG FLOAT UNICODE LIST DICT BINBYTES
  SHORT_BINBYTES BINBYTES8 BYTEARRAY8
  """.split()  # noqa: SIM905
)
_DTYPE = re.compile(r"[<>=|]?[fiu][1248]|[<>=|]?b1")


def read_feature_list(path: str | os.PathLike) -> np.ndarray:
  """Reads a pickled list of (batch index, array [B, D]).

  Returns:
    float32 [N, D], the arrays in the order of the list.

  Raises:
    TorchFileError: The file holds something else, is damaged, or asks for
      anything but arrays. Nothing has been run.
    OSError: The file cannot be opened.
  """
  try:
    with open(path, "rb") as file:
      size = os.fstat(file.fileno()).st_size
      return _join(*_read(file), size)
  except TorchFileError as error:
    raise TorchFileError(f"{path}: {error}") from error


def _join(
  content: object, blocks: dict[str, np.ndarray], file_size: int
) -> np.ndarray:
  if not isinstance(content, list) or not content:
    raise TorchFileError("it does not hold a list of features")
  arrays = []
  previous = None
  total = 0
  for position, entry in enumerate(content):
    where = f"entry {position} of its list"
    if not isinstance(entry, list | tuple) or len(entry) != 2:
      raise TorchFileError(f"{where} is no (batch index, array)")
    batch, array = entry
    if not isinstance(batch, int):
      raise TorchFileError(f"{where} has the batch index {reprlib.repr(batch)}")
    if previous is not None and batch <= previous:
      raise TorchFileError(f"{where}: batch {batch} comes after {previous}")
    previous = batch
    array = _to_array(array, blocks, where)
    if array.ndim != 2 or array.dtype.kind != "f":
      raise TorchFileError(
        f"{where} is {array.dtype} {list(array.shape)}, no floats [B, D]"
      )
    if arrays and array.shape[1] != arrays[0].shape[1]:
      raise TorchFileError(
        f"{where} has {array.shape[1]} numbers an image, the first one "
        f"{arrays[0].shape[1]}"
      )
    # Entries may be views of the same numbers, again and again.
    total += max(array.size, len(array))
    if total > file_size:
      raise TorchFileError("its list has more numbers than the file has bytes")
    arrays.append(array.astype(np.float32))
  return np.concatenate(arrays)


def _read(file: BinaryIO) -> tuple[object, dict[str, np.ndarray]]:
  head = file.read(2)
  file.seek(0)
  if head != b"PK":
    content = tensor_pickle.load(file, _FUNCTIONS, _OPCODES)
    if content != torch_file.LEGACY_MAGIC:
      return content, {}
    file.seek(0)
  return torch_file.read_content(file)


def _to_array(value, blocks: dict[str, np.ndarray], where: str) -> np.ndarray:
  if isinstance(value, _Array):
    value = value.value
  if isinstance(value, Tensor):
    value = torch_file.as_array(where, value, blocks)
  if not isinstance(value, np.ndarray):
    raise TorchFileError(f"{where} holds {type(value).__name__}, no array")
  return value


class _DType:
  """Stands for numpy.dtype; its state says little more than the byte order."""

  def __init__(self, name, *_):
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
      raise TorchFileError(f"its arrays are of dtype {reprlib.repr(name)}")
    self.value = np.dtype(name)

  def __setstate__(self, state):
    self.value = self.value.newbyteorder(state[1])


class _Array:
  """Stands for an array that gets its content by BUILD."""

  value: np.ndarray | None = None

  def __setstate__(self, state):
    _, shape, dtype, fortran, data = state
    self.value = _from_buffer(data, dtype, shape, "F" if fortran else "C")


def _from_buffer(data, dtype, shape, order) -> np.ndarray:
  if isinstance(data, str):  # of Python 2
    data = data.encode("latin1")
  if not isinstance(data, bytes | bytearray) or not isinstance(dtype, _DType):
    raise TorchFileError("its pickle has an array without numbers")
  return np.frombuffer(data, dtype.value).reshape(shape, order=order)


def _scalar(dtype, data):
  return _from_buffer(data, dtype, (), "C").item()


def _encode(text, encoding="latin1") -> bytes:
  """Stands for the way in which protocol 2 writes bytes."""
  if not isinstance(text, str) or encoding != "latin1":
    raise TorchFileError("its pickle encodes bytes in an unknown way")
  return text.encode("latin1")


def _load_storage(data) -> np.ndarray:
  """Stands for what reads a storage that is pickled within a pickle."""
  if not isinstance(data, bytes):
    raise TorchFileError("its pickle has a storage without bytes")
  stream = io.BytesIO(data)
  load = tensor_pickle.load
  if load(stream) != torch_file.LEGACY_MAGIC:
    raise TorchFileError("its storages are in an unknown format")
  load(stream)  # protocol
  system, storage, _keys = load(stream), load(stream), load(stream)
  if not isinstance(system, dict) or not system.get("little_endian"):
    raise TorchFileError("it was written on a big-endian machine")
  if not isinstance(storage, Storage):
    raise TorchFileError("its pickle has no storage where one is due")
  block = stream.read()[8:]  # after the count
  if len(block) != storage.size * storage.dtype.itemsize:
    raise TorchFileError("a storage in it is not as long as it says")
  return np.frombuffer(block, storage.dtype)


def _rebuild_tensor(block, offset, shape, strides, *_) -> np.ndarray:
  if not isinstance(block, np.ndarray):
    raise TorchFileError("its pickle has a tensor without a storage")
  storage = Storage("0", block.dtype, block.size)
  tensor = tensor_pickle.rebuild_tensor(storage, offset, shape, strides)
  return torch_file.as_array("in its list", tensor, {"0": block})


def _refuse(*_):
  raise TorchFileError("its pickle makes an array in an unknown way")


_FUNCTIONS = {
  ("numpy", "ndarray"): _refuse,  # only named
  ("numpy", "dtype"): _DType,
  ("_codecs", "encode"): _encode,
  ("torch.storage", "_load_from_bytes"): _load_storage,
  ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
  ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
}
for _core in ("numpy.core", "numpy._core"):  # before and since numpy 2
  _FUNCTIONS |= {
    (f"{_core}.multiarray", "_reconstruct"): lambda *_: _Array(),
    (f"{_core}.multiarray", "scalar"): _scalar,
    (f"{_core}.numeric", "_frombuffer"): _from_buffer,
  }
