"""The pickles inside torch files, read without running what they say.

A pickle is a program: it names functions and calls them. Here only the few
names that a dictionary of tensors needs are known, all of them stand-ins of
ours that record what a tensor looks like, and anything else is refused before
it is even looked up.
"""

import pickle
import pickletools
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from rn_jax.interop.pickle_keys import KeyScan, TorchFileError

DTYPES = {
  "FloatStorage": np.dtype("<f4"),
  "DoubleStorage": np.dtype("<f8"),
  "HalfStorage": np.dtype("<f2"),
  "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "LongStorage": np.dtype("<i8"),
  "IntStorage": np.dtype("<i4"),
  "ShortStorage": np.dtype("<i2"),
  "CharStorage": np.dtype("i1"),
  "ByteStorage": np.dtype("u1"),
  "BoolStorage": np.dtype("?"),
}

# What pickles of containers, numbers, strings and tensors are made of. NEWOBJ
# is let through to be refused by the name of its class; there is no class here
# that it could make.
_OPCODES = frozenset(
  """
  PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1
  BINFLOAT BINUNICODE SHORT_BINUNICODE BINSTRING SHORT_BINSTRING EMPTY_LIST
  APPEND APPENDS EMPTY_DICT SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2
  TUPLE3 BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL
  REDUCE NEWOBJ BUILD BINPERSID
  """.split()  # noqa: SIM905
)


class Storage(NamedTuple):
  """A block of `size` numbers, stored elsewhere in the file under `key`."""

  key: str
  dtype: np.dtype
  size: int


class Tensor(NamedTuple):
  """A view of a storage; nothing about it has been checked yet."""

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def load(
  stream: BinaryIO,
  functions: Mapping[tuple[str, str], Callable] | None = None,
  opcodes: Collection[str] = (),
) -> object:
  """Reads one pickle and leaves the stream behind it.

  Args:
    stream: Where it starts.
    functions: What stands for further names, (module, name). Each is trusted
      with whatever arguments a pickle gives it.
    opcodes: Further instructions that are let through.

  Returns:
    Plain Python values, with Tensor where there is a tensor.

  Raises:
    TorchFileError: The pickle is damaged or does more than describe tensors.
  """
  start = stream.tell()
  known = {**_FUNCTIONS, **(functions or {})}
  scan = KeyScan()
  try:
    for opcode, argument, _ in pickletools.genops(stream):
      if opcode.name == "GLOBAL":
        module, name = str(argument).split(" ", 1)
        _stand_in(known, module, name, _Budget(0))
      if opcode.name not in _OPCODES and opcode.name not in opcodes:
        raise TorchFileError(
          f"its pickle uses the instruction {opcode.name}, which a state dict "
          "does not need; nothing was run"
        )
      # The memo is an array as long as its largest index.
      puts = opcode.name in ("LONG_BINPUT", "PUT")
      if puts and int(argument or 0) > stream.tell():
        raise TorchFileError("its pickle is damaged (memo index too large)")
      scan.follow(opcode, argument)
    end = stream.tell()
    stream.seek(start)
    return _Unpickler(stream.read(end - start), known).load()
  except TorchFileError:
    raise
  except Exception as error:  # A damaged pickle can raise nearly anything.
    raise TorchFileError(f"its pickle is damaged ({error!r})") from error


_COPIED = (str, bytes, bytearray, list, tuple, dict)


class _Budget:
  """How many elements functions may still be given, altogether.

  What a pickle names again and again takes it no more bytes, but the function
  reads it each time.
  """

  def __init__(self, elements: int):
    self._left = elements

  def spend(self, arguments: Iterable) -> None:
    self._left -= sum(len(x) for x in arguments if isinstance(x, _COPIED))
    if self._left < 0:
      raise TorchFileError("its pickle repeats itself too often")


class _Function:
  """A function that a pickle may call and do nothing else with."""

  __slots__ = ("_budget", "_call")

  def __init__(self, call: Callable, budget: _Budget):
    self._call = call
    self._budget = budget

  def __call__(self, *args):
    self._budget.spend(args)
    return self._call(*args)

  def __setstate__(self, state):
    raise TorchFileError("its pickle tries to change a function")


class _StorageType(NamedTuple):
  """Stands for a torch storage class, which is only ever named."""

  name: str


class _Dict(dict):
  """A dictionary deaf to BUILD, with which torch attaches layer versions."""

  def __setstate__(self, state):
    pass


def _ordered_dict(pairs=()) -> _Dict:
  """Stands for OrderedDict; Python 2 gave it its entries as a list."""
  result = _Dict()
  for key, value in pairs:
    if not isinstance(key, str | int):
      raise TorchFileError("its pickle has a key that is no name or number")
    result[key] = value
  return result


def rebuild_tensor(storage, offset, shape, strides, *_):
  """Stands for both versions; the rest is about gradients and hooks."""
  if not isinstance(storage, Storage):
    raise TorchFileError("its pickle has a tensor without a storage")
  shape, strides = tuple(shape), tuple(strides)
  if not all(isinstance(n, int | float) for n in (offset, *shape, *strides)):
    raise TorchFileError("its pickle has a tensor whose shape is no numbers")
  return Tensor(storage, offset, shape, strides)


_FUNCTIONS = {
  ("collections", "OrderedDict"): _ordered_dict,
  ("torch", "Size"): tuple,
  ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
  ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
  ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
}


def _stand_in(
  functions: Mapping[tuple[str, str], Callable],
  module: str,
  name: str,
  budget: _Budget,
) -> _Function | _StorageType:
  """Returns what stands for a name in a pickle, made anew for each use."""
  if (module, name) in functions:
    return _Function(functions[module, name], budget)
  if module == "torch" and name in DTYPES:
    return _StorageType(name)
  raise TorchFileError(
    f"it asks for {module}.{name}, which a state dict does not need; nothing "
    "was run. If it holds a whole model or a training run, open it with the "
    "program that made it and save model.state_dict() alone"
  )


class _Unpickler(pickle.Unpickler):
  def __init__(self, content: bytes, functions: Mapping):
    super().__init__(BytesIO(content), encoding="latin1")  # Python 2's strings
    self._functions = functions
    # Honest pickles name what they give a function once.
    self._budget = _Budget(8 * len(content))

  def find_class(self, module: str, name: str) -> object:
    return _stand_in(self._functions, module, name, self._budget)

  def persistent_load(self, pid: Any) -> Storage:
    kind, storage_type, key, _, size, *view = pid
    if (
      kind != "storage"
      or not isinstance(storage_type, _StorageType)
      or not isinstance(key, str)
      or type(size) is not int
      or size < 0
    ):
      described = reprlib.repr(pid)  # the whole may be endless
      raise TorchFileError(f"its pickle has a storage described as {described}")
    if view not in ([], [None]):
      raise TorchFileError("its storages are views of other storages")
    return Storage(key, DTYPES[storage_type.name], size)


def dump(tensors: Mapping[str, Tensor]) -> bytes:
  """Writes the pickle of a state dict, instruction by instruction.

  Python's own pickler would import torch to check the names it writes.

  Raises:
    ValueError: Torch has no storage for a tensor's dtype.
  """
  names = {dtype: name for name, dtype in DTYPES.items()}
  out = [pickle.PROTO, b"\x02", _ORDERED_DICT, pickle.MARK]
  for name, (storage, offset, shape, strides) in tensors.items():
    if storage.dtype not in names:
      raise ValueError(f"tensor {name}: torch files have no {storage.dtype}")
    out += [
      _literal(name),
      b"ctorch._utils\n_rebuild_tensor_v2\n",
      pickle.MARK,
      pickle.MARK,
      _literal("storage"),
      f"ctorch\n{names[storage.dtype]}\n".encode(),
      _literal(storage.key),
      _literal("cpu"),
      _literal(storage.size),
      pickle.TUPLE,
      pickle.BINPERSID,
      _literal(offset),
      _literal(shape),
      _literal(strides),
      _literal(False),  # requires_grad; then its hooks.
      _ORDERED_DICT,
      pickle.TUPLE,
      pickle.REDUCE,
    ]
  return b"".join([*out, pickle.SETITEMS, pickle.STOP])


_ORDERED_DICT = (
  b"ccollections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE
)


def _literal(value: object) -> bytes:
  """The instructions that make a plain value, without PROTO and STOP."""
  return pickletools.optimize(pickle.dumps(value, 2))[2:-1]
