"""Stopping in an orderly way when the machine is taken away."""

import signal

import jax
from jax.experimental import multihost_utils


class StopSignals:
  """Notes SIGTERM and SIGINT instead of dying of them; a context manager.

  A second signal has its usual effect. In a run of several processes JAX's
  coordinator watches for SIGTERM instead, and SIGINT keeps its usual effect.
  """

  def __init__(self):
    self._received: int | None = None
    self._previous: dict[int, object] = {}

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
    self._received = number
    signal.signal(number, self._previous[number])

  def exit_code(self, step: int) -> int | None:
    """Returns the exit code to stop with after this update, or None.

    In a run of several processes all of them stop after the same update,
    whichever of them got SIGTERM.
    """
    if jax.process_count() > 1:
      if multihost_utils.reached_preemption_sync_point(step):
        return 128 + signal.SIGTERM
      return None
    return None if self._received is None else 128 + self._received
