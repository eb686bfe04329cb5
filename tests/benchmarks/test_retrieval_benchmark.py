"""The benchmarks of retrieval run, and compare what they say they do."""

import numpy as np
import pytest

from benchmarks import retrieval_ground_truth as benchmark
from benchmarks import retrieval_search, search_scale
from benchmarks.relation_vectors import brute_force, relation_vectors
from rn_jax.retrieval.describe.features import Features, save_features


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


@pytest.fixture(autouse=True)
def few_calls(monkeypatch):
  monkeypatch.setattr(search_scale, "_LONG_ENOUGH", 0)


def scale(images, tmp_path, **changes):
  arguments = {"dimension": 64, "features": None, "plot": ""} | changes
  return search_scale.run(images, workdir=str(tmp_path / "w"), **arguments)


def test_sizes_are_compared_drawn_and_kept(tmp_path, monkeypatch):
  rows = scale(["300"], tmp_path, plot=str(tmp_path / "plot.svg"))
  assert [(row["index"], row["search"]) for row in rows] == [
    ("Flat", ""),
    ("IVF64,Flat", "nprobe=16"),
    ("IVF64,Flat", "nprobe=64"),
    ("IVF64,PQ64np", "nprobe=16"),
    ("IVF64,PQ64np", "nprobe=64"),
    ("HNSW32", "efSearch=64"),
    ("HNSW32", "efSearch=256"),
  ]
  flat, some, every, codes, *_ = rows
  assert flat["recall"] == every["recall"] == 1
  assert 0.3 < some["recall"] < 1
  assert flat["bytes"] == pytest.approx(4 * 64, rel=0.1)
  assert 0.3 < codes["recall"] <= 1
  assert (tmp_path / "plot.svg").stat().st_size > 1000
  monkeypatch.setattr(search_scale, "build_index", None)
  assert scale(["300"], tmp_path) == rows


def test_more_than_a_shard_is_searched_file_by_file(tmp_path, monkeypatch):
  monkeypatch.setattr(search_scale, "_SHARD", 2000)
  rows = scale(["4000"], tmp_path)
  assert [row["index"] for row in rows] == ["IVF256,PQ64np"] * 2
  # Of neighbours of one file alone half would be right, at most.
  assert rows[1]["recall"] > 0.7
  with pytest.raises(ValueError, match="no multiple"):
    scale(["5000"], tmp_path)


def test_vectors_of_a_features_file_are_searched(tmp_path):
  x = np.random.default_rng(0).normal(size=(400, 64)).astype(np.float32)
  names = np.array([f"{i}.png" for i in range(400)])
  path = tmp_path / "features.npz"
  save_features(path, Features({"x": x}, 7 + np.arange(400), names, {}))
  flat, *_ = scale(["300"], tmp_path, features=str(path))
  assert (flat["images"], flat["recall"]) == (300, 1)


def test_vectors_come_in_blocks_and_depend_on_the_scene_alone():
  x = relation_vectors(2000, 32, seed=0)
  np.testing.assert_allclose(
    x[1000:1500], relation_vectors(500, 32, seed=0, start=1000), rtol=1e-5
  )
  np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)
  assert len(np.unique(x, axis=0)) == 2000
  assert not np.array_equal(x, relation_vectors(2000, 32, seed=1))


def test_neighbours_by_brute_force_are_the_nearest():
  x = np.random.default_rng(0).normal(size=(12_000, 3))
  queries = x[[4, 11_000]] + 1e-3
  rows, distances, mean = brute_force([x[:500], x[500:]], queries, 3)
  every = np.linalg.norm(queries[:, None] - x, axis=2)
  assert rows.tolist() == np.argsort(every, 1)[:, :3].tolist()
  np.testing.assert_allclose(distances, np.sort(every, 1)[:, :3], atol=1e-7)
  assert mean == pytest.approx(every.mean())
