"""Which runs are one row, what tells rows apart, and their means."""

import importlib
import json
import re

import numpy as np
import pytest
from places import ROOT

from configs import common, quickstart
from rn_jax.pace import Pace, fit
from rn_jax.plots.confusion import draw_confusion
from rn_jax.report.comparison import (
  differing_keys,
  evaluated_on,
  group_runs,
  interval,
  mean_series,
  own_settings,
  percent,
  pooled,
  questions_until,
  thousands,
)
from rn_jax.report.published import published
from rn_jax.report.runs import Run, flat_config, unfinished


def make_run(name="x-0", seed=0, series=None, scores=None, **config):
  config = {"train.batch_size": 10, "train.num_epochs": 2.0} | config
  return Run(name, config, seed, series or {}, scores or {})


def curve(steps, values):
  steps = np.array(steps, float)
  return {"step": steps, "epoch": steps / 10, "value": np.array(values, float)}


def test_seeds_are_one_row():
  runs = [make_run("a-0"), make_run("b-0", **{"k": 1}), make_run("a-1", 1)]
  rows = group_runs(runs)
  assert [row.name for row in rows] == ["a", "b"]
  assert [run.seed for run in rows[0].runs] == [0, 1]


def test_seeds_whose_trials_found_another_pace_are_one_row():
  def run(seed, pace, minutes, **lengths):
    config = quickstart.get_config()
    config.seed, config.train.max_minutes = seed, minutes
    config.data.curriculum = ("zero_hop: 9000 or 0.9",)
    config.update_from_flattened_dict(lengths)
    fitted = fit(config, Pace(pace, 1.0, 5.0), 800_000, 10.0)
    flat, seed = flat_config(fitted.to_dict())
    return Run(f"x-{seed}", flat, seed, {}, {})

  runs = [run(0, 1_200, 2), run(1, 1_180, 2)]
  assert runs[0].config != runs[1].config
  assert len(group_runs(runs)) == 1
  for lengths in (
    {"optimizer.warmup_epochs": 0.5},
    {"data.curriculum": ("zero_hop: 90000 or 0.9",)},
    {"data.curriculum": ("zero_hop: 9000 or 0.5",)},
    {"optimizer.learning_rate": 1.0},
  ):
    for seed in 0, 2:
      other = run(seed, 1_200, 2, **lengths)
      assert len(group_runs([*runs, other])) == 2, lengths
  # Of one seed, and yet another run.
  assert len(group_runs([*runs, run(0, 1_190, 2)])) == 2


def test_names_of_rows_differ():
  runs = [make_run("a-0"), make_run("a-1", 1, k=1), make_run("c", 2)]
  assert [row.name for row in group_runs(runs)] == ["a-0 and 1 more", "a"]
  runs = [make_run("a-0"), make_run("a-1", 1, k=1)]
  assert [row.name for row in group_runs(runs)] == ["a-0", "a-1"]


def test_one_seed_does_not_count_twice():
  with pytest.raises(ValueError, match="x-0 and y have one config and one"):
    group_runs([make_run("x-0"), make_run("y")])


def test_interval_is_students():
  mean, half = interval([0.6, None, 0.7])
  assert mean == pytest.approx(0.65)
  # t(0.975, 1) = 12.7062, standard error 0.05
  assert half == pytest.approx(0.63531, abs=1e-4)
  assert np.isnan(interval([0.6])[1])
  assert interval([None]) is None
  mean, half = interval([1.0, 2.0, 3.0])
  # s / sqrt(3) times the 97.5 % point for two degrees of freedom.
  assert mean == 2.0
  assert half == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
  assert interval([0.5])[0] == 0.5
  assert percent([0.5, 0.7]) == "60.0 ± 127.1"
  assert percent([0.5]) == "50.0"
  assert percent([None]) == "–"


def test_numbers_in_thousands():
  # Half of the interval is 12.7062 times the standard error of 20.
  assert thousands([100e3, 140e3]) == "120 ± 254"
  assert thousands([120e3, 122e3, None]) == "121 (2 of 3)"
  assert thousands([1_234_567.0]) == "1,235"
  assert thousands([None]) == "–"


def test_differing_keys():
  configs = [{"a": 1, "b": [1, 2], "c": 0}, {"a": 2, "b": [1, 2]}]
  assert differing_keys(configs) == {"a": [1, 2], "c": [0, None]}


def test_older_configs_are_like_those_of_today():
  new = json.loads(common.get_config().to_json())
  old = json.loads(common.get_config().to_json())
  del old["data"]["curriculum"], old["model"]["encoder"]
  assert flat_config(old) == flat_config(new)


def test_settings_that_are_not_those_of_most():
  configs = [{"a": 1, "b": 0}, {"a": 2, "b": 0}, {"a": 2, "b": 3}]
  assert own_settings(configs) == [{"a": 1}, {}, {"b": 3}]
  # Two of two: the first counts as most.
  assert own_settings([{"a": [1]}, {"a": [2]}]) == [{}, {"a": [2]}]


def test_questions_until_an_accuracy():
  series = {"val/accuracy": curve([0, 10, 20, 30], [0.1, 0.3, 0.2, 0.6])}
  run = make_run(series=series)  # batches of 10
  assert questions_until(run, 0.3) == 100
  assert questions_until(run, 0.2) == pytest.approx(50)
  # 0.2 after 200 questions, 0.6 after 300.
  assert questions_until(run, 0.5) == pytest.approx(275)
  assert questions_until(run, 0.05) == 0
  assert questions_until(run, 0.7) is None
  assert questions_until(make_run(), 0.1) is None


def test_mean_curves_go_by_the_questions_read():
  runs = [
    make_run(series={"val/accuracy": curve([0, 5, 10], [0, 0.2, 0.4])}),
    make_run(series={"val/accuracy": curve([0, 10, 15], [0.2, 0.6, 1])}),
  ]
  means, ranges = mean_series(runs)
  mean = means["val/accuracy"]
  assert mean["step"].tolist() == [0, 5, 10]
  assert mean["questions"].tolist() == [0, 50, 100]
  assert mean["value"].tolist() == pytest.approx([0.1, 0.3, 0.5])
  np.testing.assert_allclose(
    ranges["val/accuracy"], [[0, 0.2, 0.4], [0.2, 0.4, 0.6]]
  )
  # As where trials have found another pace: all but the start differ.
  runs = [
    make_run(series={"val/accuracy": curve([0, 103, 206], [0, 0.5, 0.7])}),
    make_run(series={"val/accuracy": curve([0, 97, 194], [0, 0.5, 0.9])}),
  ]
  mean = mean_series(runs)[0]["val/accuracy"]
  assert mean["step"].tolist() == [0, 97, 194]
  assert mean["value"][-1] == pytest.approx(0.79, abs=0.01)


def test_evaluations_of_other_data_are_told_apart():
  def run(name, **scores):
    return make_run(name, scores={"num_examples": 10} | scores)

  runs = [
    run("older"),
    run("a", data_sha256="1"),
    run("b", data_sha256="2"),
    run("c", data_sha256="1"),
    run("short", num_examples=9),
  ]
  names = [[r.name for r in group] for group in evaluated_on(runs)]
  assert names == [["a", "c", "older"], ["b"], ["short"]]


def test_confusions_are_added():
  def scores(accuracy, counts, answers=("yes", "no")):
    confusion = {"answers": list(answers), "counts": counts}
    return {"accuracy": accuracy, "confusion": confusion}

  runs = [
    make_run(scores=scores(0.5, [[1, 1], [0, 0]])),
    make_run(scores=scores(1.0, [[2, 0], [0, 3]])),
  ]
  both = pooled(runs)
  assert both["accuracy"] == pytest.approx(0.75)
  assert both["confusion"]["counts"] == [[3, 1], [0, 3]]
  title = draw_confusion(both, "val").axes[0].get_title(loc="left")
  assert title == "7 answers of 2 runs on val, 75.0 % correct"
  other = make_run("z", scores=scores(0.5, [[1, 1], [0, 0]], ("no", "yes")))
  with pytest.raises(ValueError, match="same records"):
    pooled([*runs, other])


def test_a_run_ended_or_says_where_it_stopped():
  config = {"train.num_epochs": 2.0}
  ended = {"train/loss": curve([10, 20], [1, 1])}
  assert unfinished(config, ended) == ""
  stopped = {"train/loss": curve([10, 15], [1, 1])}
  assert unfinished(config, stopped).startswith(
    "its training has come to epoch 1.5 of 2;"
  )
  assert unfinished(config, {"val/loss": curve([0], [3])})  # before the first
  # A last batch of eight questions may be half filled.
  config = {"train.num_epochs": 2.0, "train.batch_size": 2}
  grown = {
    "train/loss": curve([5, 10], [1, 1]),
    "train/samples_per_second": curve([5, 10], [1, 1]),
    "train/questions": curve([5, 10], [10, 50]),
    "train/batch_size": curve([5, 10], [2, 8]),
  }
  for series in grown.values():
    series["epoch"] = np.array([0.38, 1.9])
  assert unfinished(config, grown) == ""
  for series in grown.values():
    series["epoch"] = np.array([0.32, 1.6])
  assert unfinished(config, grown)
  # Of 21.4 updates a run makes 21.
  assert unfinished({"train.num_epochs": 2.14}, {"x": curve([21], [1])}) == ""


@pytest.mark.parametrize(
  ("name", "changes", "figure"),
  [
    ("original_sd", {}, "97.9"),
    ("headline_sd", {}, "97.9"),
    ("original_fp", {}, "93.6"),
    ("original_fp", {"optimizer.schedule": "constant"}, None),
    ("ir_fp", {}, "almost the RN's"),
    ("avf_fp", {}, "around 65"),
    ("found_fp", {}, None),
    ("original_sd", {"model.head.kind": "object_relation"}, None),
  ],
)
def test_published_figure_of_a_config(name, changes, figure):
  config = importlib.import_module(f"configs.{name}").get_config()
  config.update_from_flattened_dict(changes)
  found = published(flat_config(config.to_dict())[0])
  assert (found["figure"] if found else None) == figure


def test_the_papers_experiments_have_the_papers_figures():
  table = (ROOT / "docs" / "experiments.md").read_text()
  rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \|.*\|.*\|.*\|$", table, re.M)
  assert len(rows) > 20
  for name, figure in rows:
    config = importlib.import_module(f"configs.paper.{name}").get_config()
    found = published(flat_config(config.to_dict())[0])
    assert (found["figure"] if found else "–") == figure, name
