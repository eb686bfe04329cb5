"""Bars of a log."""

import io
import re

from places import ROOT

from rn_jax.host import progress
from rn_jax.host.progress import progress_bar


def test_a_log_gets_few_lines(monkeypatch):
  log = io.StringIO()
  bar = progress_bar(total=10_000, desc="counting", file=log)
  clock = [bar.start_t]
  monkeypatch.setattr(bar, "_time", lambda: clock[0])
  for _ in range(10_000):
    clock[0] += 0.01  # 100 s in all
    bar.update()
  bar.close()
  shown = re.findall(r"counting: +(\d+)%", log.getvalue())
  assert shown[0] == "0"
  assert shown[-1] == "100"
  assert len(shown) <= 2 + 100 / progress._IN_A_LOG


def test_every_bar_is_one():
  for folder in ("rn_jax", "data_prep", "benchmarks"):
    for path in (ROOT / folder).rglob("*.py"):
      if path.name != "progress.py":
        assert "import tqdm" not in path.read_text(), path
