"""Keys of the dictionaries in a pickle, looked at before it is read.

Python hashes a key as soon as it is put in. Of a tuple in a tuple in a tuple
that ends the process, or takes for ever, so only names and numbers may be
keys.
"""

import pickletools
from pickletools import OpcodeInfo, StackObject
from typing import Any

_KEYS = (
  *(pickletools.pyint, pickletools.pybool, pickletools.pyinteger_or_bool),
  *(pickletools.pyfloat, pickletools.pynone, pickletools.pyunicode),
  *(pickletools.pybytes, pickletools.pybytes_or_str),
)
_GETS = ("GET", "BINGET", "LONG_BINGET")
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


class TorchFileError(ValueError):
  """A torch file is damaged, unsupported, or asks for something unsafe."""


class KeyScan:
  """Follows the kinds of values, not the values, that a pickle puts together.

  What is on the unpickler's stack, and in its memo, is known from the
  instructions alone.
  """

  def __init__(self):
    self._stack: list[StackObject] = []
    self._memo: dict[int, StackObject] = {}

  def follow(self, opcode: OpcodeInfo, argument: Any) -> None:
    """Takes the next instruction.

    Raises:
      TorchFileError: It makes a key of a container.
      LookupError: It takes what is not there.
    """
    if opcode.name in _GETS:
      self._stack.append(self._memo[int(argument)])
    elif opcode.name in _PUTS:
      self._memo[int(argument)] = self._stack[-1]
    elif opcode.name == "MEMOIZE":
      self._memo[len(self._memo)] = self._stack[-1]
    else:
      taken = self._take(opcode.stack_before)
      keys = ()
      if opcode.name == "SETITEM":
        keys = taken[-2:-1]
      elif opcode.name in ("SETITEMS", "DICT"):
        keys = taken[::2]
      if any(key not in _KEYS for key in keys):
        raise TorchFileError(
          "its pickle has a key that is no name or number; nothing was run"
        )
      self._stack += opcode.stack_after

  def _take(self, before: list[StackObject]) -> list[StackObject]:
    """Takes from the stack; returns the values, of a slice its own."""
    if pickletools.stackslice not in before:
      return self._pop(len(before))[::-1]
    taken = []
    while (value := self._stack.pop()) is not pickletools.markobject:
      taken.append(value)
    self._pop(len(before) - 2)  # all but mark and slice
    return taken[::-1]

  def _pop(self, count: int) -> list[StackObject]:
    popped = [self._stack.pop() for _ in range(count)]
    if pickletools.markobject in popped:
      raise LookupError("a mark is in the way")
    return popped
