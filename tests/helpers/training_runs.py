"""How a run is stopped, and what it left in its workdir."""

import contextlib
import json

import jax
import numpy as np
import pytest

from rn_jax.host import signals


def flatten(tree):
  return {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def read_lines(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


@contextlib.contextmanager
def stopped_after(update):
  """Lets SIGTERM arrive at a training in its block after so many updates."""
  exit_code = signals.StopSignals.exit_code
  with pytest.MonkeyPatch.context() as context:
    context.setattr(
      signals.StopSignals,
      "exit_code",
      lambda self, step: 143 if step == update else exit_code(self, step),
    )
    with pytest.raises(SystemExit) as stop:
      yield
  assert stop.value.code == 143


def assert_same_arrays(found, expected):
  """Compares what `flatten` returned, bit for bit."""
  assert found.keys() == expected.keys()
  for name, values in expected.items():
    np.testing.assert_array_equal(found[name], values, err_msg=name)
