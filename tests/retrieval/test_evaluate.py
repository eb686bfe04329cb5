"""Evaluation of rankings: by loops, by hand, and what the command writes."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from small_scenes import generated

from rn_jax.retrieval.describe.features import (
  Features,
  FeaturesError,
  save_features,
)
from rn_jax.retrieval.evaluate import evaluate
from rn_jax.retrieval.ground_truth import compute
from rn_jax.retrieval.scene_graphs.ground_truth_file import GroundTruthError
from rn_jax.retrieval.scores import report_figures, scoring
from rn_jax.retrieval.scores.baselines import relation_histogram
from rn_jax.retrieval.scores.report_figures import better_vectors

_QUERIES = [3, 0, 40, 41, 7]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
  """Distances of five queries to 120 scenes."""
  path = tmp_path_factory.mktemp("truth") / "v2_soft.npz"
  return path, compute(generated(120), path, queries=_QUERIES)


def _save(path, descriptors, filenames, about=None):
  count = len(filenames)
  features = Features(
    {k: v.astype(np.float32) for k, v in descriptors.items()},
    np.arange(count),
    np.array(filenames),
    {"descriptors": about or {}},
  )
  save_features(path, features)
  return path


def test_scores_are_those_of_a_loop_without_the_query(truth):
  _, truth = truth
  vectors = np.random.default_rng(0).normal(size=(120, 6))
  vectors[:, 0] += truth.scenes.num_objects
  candidates = scoring.of_vectors("x", vectors)
  unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
  scores, _ = scoring.score(truth, candidates)
  counts = truth.scenes.num_objects
  for x, score in zip((vectors, unit), scores, strict=True):
    for row, q in enumerate(_QUERIES):
      others = np.array([i for i in range(120) if i != q])
      d = np.linalg.norm(x[others] - x[q], axis=1)
      t = truth.distances[row, others]
      metrics = {name: values[row] for name, values in score.metrics.items()}
      assert metrics["rho"] == pytest.approx(stats.spearmanr(d, t).statistic)
      assert metrics["tau"] == pytest.approx(stats.kendalltau(d, t).statistic)
      same = counts[others] == counts[q]
      expected = stats.spearmanr(d[same], t[same]).statistic
      assert metrics["rho_same_count"] == pytest.approx(expected)
      first, true = (np.argsort(v, kind="stable") for v in (d, t))
      for k in (10, 100):
        expected = len(set(first[:k]) & set(true[:k])) / k
        assert metrics[f"recall@{k}"] == pytest.approx(expected)
      at = score.ks.tolist().index(10)
      assert score.curve[row, at] == metrics["recall@10"]
      gain = 2 ** (1 - t / t.max()) - 1
      weights = 1 / np.log2(np.arange(5) + 2)
      expected = gain[first[:5]] @ weights / (np.sort(gain)[::-1][:5] @ weights)
      assert metrics["ndcg@5"] == pytest.approx(expected)
    assert "recall@1000" not in score.metrics  # there are 119 others


def test_the_truth_as_a_descriptor_is_perfect(truth):
  _, truth = truth
  table = np.zeros((120, 120))
  table[truth.query_position] = truth.distances
  perfect = scoring.Candidate("truth", "oracle", "", lambda q: table[q])
  (score,), level = scoring.score(truth, [perfect])
  for name, values in score.metrics.items():
    assert values == pytest.approx(1), name
  assert level["rho"] == 0
  assert level["recall@10"] == pytest.approx(10 / 119)
  assert 0.2 < level["ndcg@5"] < 0.8


def test_cosine_is_one_minus_the_cosine(truth):
  vectors = np.random.default_rng(1).normal(size=(120, 4)) + 1
  (candidate,) = scoring.of_vectors("R-MAC", vectors, "cosine")
  lengths = np.linalg.norm(vectors, axis=1)
  expected = 1 - vectors[5] @ vectors.T / (lengths[5] * lengths)
  assert candidate.distances(np.array([5]))[0] == pytest.approx(expected)


def test_random_vectors_correlate_with_nothing(tmp_path):
  scenes = generated(400)
  truth = compute(scenes, tmp_path / "truth.npz", queries=range(100))
  (random, count, difference), _ = scoring.score(
    truth, scoring.sanity_rows(scenes)
  )
  assert abs(random.metrics["rho"].mean()) < 0.02
  assert difference.metrics["rho"].mean() > 0.4
  assert np.isnan(count.metrics["rho_same_count"]).all()


def test_zero_vectors_stay_zero():
  vectors = np.eye(3)
  vectors[1] = 0
  _, unit = scoring.of_vectors("x", vectors)
  expected = [[0, 1, 2**0.5], [1, 0, 1], [2**0.5, 1, 0]]
  assert unit.distances(np.arange(3)) == pytest.approx(np.array(expected))


def test_files_tell_of_every_query(truth, tmp_path):
  path, truth = truth
  names = [f"val/{n}" for n in truth.scenes.image_filename[::-1]]  # reversed
  vectors = relation_histogram(truth.scenes)
  features = _save(
    tmp_path / "features.npz",
    {"relations": vectors[::-1], "rmac": vectors[::-1] + 1},
    ["val/other.png", *names][1:],
    {"rmac": {"metric": "cosine", "label": "R-MAC"}},
  )
  (table,) = evaluate([features], [path], tmp_path / "out")
  rows = {(row["label"], row["vector"]): row for row in table["rows"]}
  assert list(rows) == [
    ("random", ""),
    ("object count", ""),
    ("object count difference", ""),
    *(
      (label, vector)
      for label in (
        "attribute histogram",
        "object type histogram",
        "relation histogram",
        "relations",
      )
      for vector in ("as it is", "unit length")
    ),
    ("R-MAC", "unit length"),
  ]
  # The same vectors, found by the images' names.
  for vector in ("as it is", "unit length"):
    found = rows["relations", vector]["metrics"]["rho"]["values"]
    oracle = rows["relation histogram", vector]["metrics"]["rho"]["values"]
    assert found == pytest.approx(oracle, abs=1e-6)
  written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
  assert written["tables"] == [table]
  assert table["query_index"] == _QUERIES
  rho = rows["random", ""]["metrics"]["rho"]
  assert np.mean(rho["values"]) == pytest.approx(rho["mean"])
  half = stats.t.ppf(0.975, 4) * np.std(rho["values"], ddof=1) / 5**0.5
  assert half == pytest.approx(rho["interval"])
  with open(tmp_path / "out" / "evaluation.csv", newline="") as file:
    lines = list(csv.DictReader(file))
  assert len(lines) == len(rows) * len(rows["random", ""]["metrics"])
  assert float(lines[0]["mean"]) == rho["mean"]
  text = (tmp_path / "out" / "evaluation.md").read_text()
  assert f"| {rho['mean']:.3f} ± {rho['interval']:.3f} |" in text
  assert text.count("\n| ") == 3 + len(rows)
  assert "| *object count* |" in text
  assert "| R-MAC | unit length |" in text
  for name in ("v2_soft_bars.png", "v2_soft_recall.png"):
    assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [2, 3, 8])
def test_what_cannot_be_ranked_has_no_number(count, tmp_path):
  # Of 2 and 3 scenes there is no order to speak of; 8 are all equally far.
  scenes = generated(count)
  if count == 8:
    scenes = generated(count, min_objects=1, max_objects=1)
  compute(scenes, tmp_path / "v2_hard.npz", match="hard")
  (table,) = evaluate([], [tmp_path / "v2_hard.npz"], tmp_path / "out")
  assert {row["metrics"]["tau"]["mean"] for row in table["rows"]} >= {None}
  text = (tmp_path / "out" / "evaluation.md").read_text()
  assert "| – |" in text
  assert "nan" not in text
  for name in ("evaluation.json", "v2_hard_bars.png", "v2_hard_recall.png"):
    assert (tmp_path / "out" / name).is_file()


def test_ground_truths_of_one_rule_are_told_apart(tmp_path):
  paths = [tmp_path / "all.npz", tmp_path / "some.npz"]
  for path, count in zip(paths, (12, 9), strict=True):
    compute(generated(count), path)
  evaluate([], paths, tmp_path / "out", oracles=False)
  with open(tmp_path / "out" / "evaluation.csv", newline="") as file:
    lines = list(csv.DictReader(file))
  assert {line["ground_truth"] for line in lines} == {"v2 soft"}
  assert {line["file"] for line in lines} == {str(path) for path in paths}
  text = (tmp_path / "out" / "evaluation.md").read_text()
  assert "## v2 soft (all)\n" in text
  assert "## v2 soft (some)\n" in text


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equally_far_is_equally_far_whatever_the_rounding(metric):
  # Nothing in common with the first but the length they are brought to.
  vectors = np.zeros((200, 40))
  vectors[0, :7] = 3
  counts = np.random.default_rng(0).integers(0, 9, (199, 33))
  vectors[1:, 7:] = counts
  unit = scoring.of_vectors("x", vectors, metric)[-1]
  (distances,) = unit.distances(np.array([0]))
  assert len(np.unique(distances[1:])) == 1
  assert distances[0] == 0
  assert distances[1] == pytest.approx(1 if metric == "cosine" else 2**0.5)


def test_networks_of_one_kind_have_a_row_each(truth, tmp_path):
  path, truth = truth
  vectors = relation_histogram(truth.scenes)
  files = []
  for name in "a", "b":
    (tmp_path / name).mkdir()
    files.append(
      _save(
        tmp_path / name / "features_val.npz",
        {"g2_avg": vectors},
        [f"val/{n}" for n in truth.scenes.image_filename],
        {"g2_avg": {"metric": "cosine", "label": "2S-RN avg"}},
      )
    )
  (table,) = evaluate(files, [path], tmp_path / "out", oracles=False)
  labels = [row["label"] for row in better_vectors(table["rows"], "rho")]
  assert labels[-2:] == ["2S-RN avg (a)", "2S-RN avg (b)"]


def test_recall_has_a_panel_per_row_and_a_band_in_each(truth, tmp_path):
  path, _ = truth
  (table,) = evaluate([], [path], tmp_path)
  figure = report_figures.draw_recall(table)
  rows = report_figures.better_vectors(table["rows"], "rho")
  panels = [axes for axes in figure.axes if axes.axison]
  assert [axes.get_title(loc="left") for axes in panels] == [
    report_figures._name(row) for row in rows
  ]
  assert len(rows) % 4  # Some panels have none below.
  for axes, row in zip(panels, rows, strict=True):
    assert len(axes.collections) == 1
    drawn = max(axes.lines, key=lambda line: line.get_linewidth())
    assert drawn.get_ydata().tolist() == row["recall_curve"]["mean"]
  numbered = [axes.get_xlabel() for axes in panels]
  assert numbered == [""] * (len(rows) - 4) + ["k"] * 4


def test_features_must_cover_the_scenes(truth, tmp_path):
  path, truth = truth
  names = truth.scenes.image_filename.tolist()
  x = np.ones((118, 2))
  short = _save(tmp_path / "short.npz", {"x": x}, names[:60] + names[62:])
  with pytest.raises(
    FeaturesError, match=r"2 of 120 scenes, the first .*000060"
  ):
    evaluate([short], [path], tmp_path)
  twice = [*names, f"more/{names[5]}"]
  twice = _save(tmp_path / "twice.npz", {"x": np.ones((121, 2))}, twice)
  with pytest.raises(FeaturesError, match=r"several images .*000005"):
    evaluate([twice], [path], tmp_path)
  with pytest.raises(
    FeaturesError, match="no descriptor 'y' here; there are: x"
  ):
    evaluate([short], [path], tmp_path, descriptors=["y"])
  with pytest.raises(GroundTruthError, match="same name"):
    evaluate([], [path, path], tmp_path)


def test_the_command_prints_the_table_or_what_is_wrong(truth, tmp_path):
  path, _ = truth
  done, failed = (
    subprocess.run(
      [
        *(sys.executable, "-m", "rn_jax.retrieval.evaluate", "--nooracles"),
        *(f"--ground_truth={path}", f"--output_dir={tmp_path}", *more),
      ],
      capture_output=True,
      text=True,
      check=False,
    )
    for more in ([], ["--features=missing.npz"])
  )
  assert done.returncode == 0, done.stderr
  assert (tmp_path / "evaluation.md").read_text() in done.stdout
  assert failed.returncode == 1
  assert "error: " in failed.stderr
  assert "Traceback" not in failed.stderr
