"""Stopping in an orderly way."""

import os
import signal

import pytest

from rn_jax.host.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_noted_however_many(number):
  before = signal.getsignal(number)
  with StopSignals() as signals:
    assert signals.exit_code(1) is None
    os.kill(os.getpid(), number)
    assert signals.exit_code(2) == 128 + number
    for again in (number, signal.SIGTERM, signal.SIGINT):
      os.kill(os.getpid(), again)
    assert signals.exit_code(3) == 128 + number
  assert signal.getsignal(number) == before
