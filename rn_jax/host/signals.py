"""Stopping in an orderly way when the machine is taken away."""

import signal
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopSignals:
  """Notes SIGTERM and SIGINT instead of dying of them; a context manager.

  Further signals change nothing, or the state would not be saved. In a run of
  several processes JAX's coordinator watches for SIGTERM instead, and SIGINT
  keeps its usual effect.
  """

  def __init__(self):
    self._received: int | None = None
    self._calls = 0
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> "StopSignals":
    if jax.process_count() > 1:
      return self  # a handler of ours would replace the coordinator's
    for number in (signal.SIGTERM, signal.SIGINT):
      self._previous[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _note(self, number: int, _) -> None:
    self._received = self._received or number

  def exit_code(self, step: int) -> int | None:
    """Returns the exit code to stop with after update `step`, or None.

    In a run of several processes all of them call it after the same updates,
    and all stop after the same one, whichever of them got SIGTERM.
    """
    self._calls += 1
    if jax.process_count() > 1:
      # They agree on the next but one call; updates may come several at once.
      if multihost_utils.reached_preemption_sync_point(self._calls):
        return 128 + signal.SIGTERM
      return None
    return None if self._received is None else 128 + self._received
