"""What the tests of training share."""

import pytest

from rn_jax import train


@pytest.fixture(autouse=True)
def pictures(request, monkeypatch):
  """Leaves out drawing, which takes longer than a tiny network's training."""
  if "draws" not in request.keywords:
    monkeypatch.setattr(train.run_plots, "plot_workdir", lambda _: [])
    monkeypatch.setattr(train.first_batch, "draw", lambda *_: None)
