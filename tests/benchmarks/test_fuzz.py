"""Damaged files of every kind are read right or refused, nothing else."""

import pytest

from benchmarks import fuzz


def test_readers_take_or_refuse(capsys):
  rows = fuzz.run(minutes=0, count=80, seed=0)
  assert [sum(row[1:]) for row in rows] == [80] * 7
  assert all(refused > 20 and not fault for _, _, refused, fault in rows)
  assert "archives" in capsys.readouterr().out


def test_a_fault_is_told(monkeypatch):
  def fail(_):
    raise RecursionError("too deep")

  monkeypatch.setattr(fuzz, "read_state_dict", fail)
  with pytest.raises(SystemExit, match="weights: RecursionError: too deep"):
    fuzz.run(minutes=0, count=1, seed=0)
