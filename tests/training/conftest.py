"""What the tests of training share."""

import pytest

from rn_jax import train


@pytest.fixture(autouse=True)
def pictures(request, monkeypatch):
  """Leaves out drawing and asking, which take longer than a tiny training."""
  if "draws" not in request.keywords:
    monkeypatch.setattr(train.run_plots, "plot_workdir", lambda _: [])
    monkeypatch.setattr(train.first_batch, "draw", lambda *_: None)
    monkeypatch.setattr(train, "_ask_example", lambda *_: None)
