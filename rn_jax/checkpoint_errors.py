"""What goes wrong with checkpoints, said once and by us, not by orbax."""

import contextlib
import logging as std_logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from absl import logging

# Where orbax logs with a traceback what it raises again afterwards.
_RAISED_AGAIN = ("future.py", "async_checkpointer.py", "checkpoint_manager.py")
_print_unraisable: Callable


class CheckpointError(ValueError):
  """A checkpoint is absent, damaged, or does not fit the network."""


@contextlib.contextmanager
def saving(directory: Path) -> Iterator[None]:
  """Names a checkpoints folder in what orbax raises because of the disk.

  Raises:
    OSError: The system refused something; of that folder, with its number.
    CheckpointError: Anything else.
  """
  try:
    yield
  except Exception as error:  # Orbax and tensorstore raise many types.
    # Tensorstore's own errors have the system's number in their text alone.
    found = re.search(r"os_error_code='(\d+)'", str(error))
    number = int(found[1]) if found else getattr(error, "errno", None)
    if number is not None:
      text = f"a checkpoint cannot be written: {os.strerror(number)}"
      raise OSError(number, text, str(directory)) from error
    raise CheckpointError(
      f"{directory}: a checkpoint cannot be written ({brief(error)})"
    ) from error


def brief(error: Exception) -> str:
  """Returns the type of an error and how its text begins."""
  lines = str(error).strip().splitlines() or [""]
  return f"{type(error).__name__}: {lines[0][:200]}"


def quiet_orbax() -> None:
  """Drops what orbax says beside its exceptions and warnings.

  That is INFO lines, dozens for every save, and tracebacks: of errors that are
  raised again, and of those of other arrays, when one could not be read or
  written. Nobody waits for them any more, or orbax's event loop is closed.
  """
  global _print_unraisable
  logging.get_absl_logger().addFilter(_not_orbax_chatter)
  std_logging.getLogger("asyncio").addFilter(_not_another_array)
  if sys.unraisablehook is not _not_closed_loop:
    _print_unraisable = sys.unraisablehook
    sys.unraisablehook = _not_closed_loop


def _not_orbax_chatter(record: std_logging.LogRecord) -> bool:
  if f"{os.sep}orbax{os.sep}" not in record.pathname:
    return True
  if record.exc_info and record.filename in _RAISED_AGAIN:
    return False
  return record.levelno >= std_logging.WARNING


def _not_another_array(record: std_logging.LogRecord) -> bool:
  text = record.getMessage()
  # What asyncio makes of an awaitable that is no coroutine, as tensorstore's.
  return not ("was never retrieved" in text and "_wrap_awaitable" in text)


def _not_closed_loop(unraisable) -> None:
  error = unraisable.exc_value
  # They come from threads of C++, and maybe late: nobody can catch them.
  if (
    not isinstance(error, RuntimeError) or str(error) != "Event loop is closed"
  ):
    _print_unraisable(unraisable)
