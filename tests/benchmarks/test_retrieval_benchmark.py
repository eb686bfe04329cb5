"""The benchmarks of retrieval run, and compare what they say they do."""

import pytest

from benchmarks import retrieval_ground_truth as benchmark
from benchmarks import retrieval_search, search_scale


def test_variants_agree_and_are_compared(capsys):
  rows = benchmark.run(scenes=12, queries=2, naive_pairs=20, repeats=1)
  labels = [row[:3] for row in rows]
  for match in ("soft", "hard"):
    for name, variants in {
      "v1": ["pair by pair"],
      "v2": ["as published", "pair by pair"],
      "exact": [],
      "exact, 3-4 objects": ["networkx"],
    }.items():
      for variant in [*variants, "this package"]:
        assert (name, match, variant) in labels
  assert len(labels) == 16
  assert all(rate > 0 for *_, rate, _ in rows)
  assert capsys.readouterr().out.count("\n") == 4 + len(rows)


def test_a_difference_is_noticed(monkeypatch):
  v1 = benchmark.bipartite.v1
  monkeypatch.setattr(
    benchmark.bipartite, "v1", lambda *arguments: v1(*arguments) + 1
  )
  with pytest.raises(ValueError, match="v1 soft: pair by pair gives other"):
    benchmark.run(scenes=4, queries=1, naive_pairs=2, repeats=1)


def test_kinds_of_index_are_compared():
  rows = retrieval_search.run(
    images=300, dimension=8, k=5, repeats=1, variants=["Flat", "IVF4,Flat"]
  )
  recall = {(name, count): recall for name, count, *_, recall in rows}
  assert [*recall] == [
    (name, count)
    for count in (1, 100)
    for name in ("NumPy", "Flat", "IVF4,Flat")
  ]
  assert recall["Flat", 100] == 1
  assert 0.3 < recall["IVF4,Flat", 100] < 1


def test_sizes_are_compared_and_drawn(tmp_path):
  rows = search_scale.run(["300"], 64, str(tmp_path / "plot.svg"))
  assert [(row[0], row[1].split(" ")[0]) for row in rows] == [
    (300, "Flat"),
    (300, "HNSW32"),
    (300, "IVF64,Flat"),
    (300, "IVF64,PQ64"),
  ]
  flat, *_, codes = rows
  assert flat[-1] == 1
  assert flat[3] == pytest.approx(4 * 64, rel=0.1)  # bytes
  assert 0.3 < codes[-1] <= 1
  assert (tmp_path / "plot.svg").stat().st_size > 1000
