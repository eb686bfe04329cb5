"""Pictures show what the files hold, whatever state a run left them in."""

import json
import logging
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from absl import logging as absl_logging
from matplotlib.backends.backend_agg import FigureCanvasAgg
from places import ROOT

from rn_jax import metrics
from rn_jax.clevr import ANSWER_CLASSES, ANSWERS
from rn_jax.plots import curves, rows, run_plots
from rn_jax.plots.confusion import draw_confusion

ALL = ["accuracy", "confusion_val", "invalid_rate", "learning_rate", "loss"]


def write_lines(workdir, lines, ending=""):
  path = workdir / "metrics.jsonl"
  text = "".join(json.dumps(line) + "\n" for line in lines)
  path.write_text(text + ending)
  return path


def line(step, **values):
  values = {k.replace("__", "/"): v for k, v in values.items()}
  return {"step": step, "epoch": step / 10, "time": 0.0} | values


def run_lines(steps=40, val_every=10):
  """What a run writes: often about training, seldom about validation."""
  for step in range(1, steps + 1):
    x = step / steps
    yield line(step, train__loss=2 - x, train__learning_rate=1e-4 * x)
    if step % val_every == 0:
      by_class = {f"val/by_answer_class/{c}": x for c in ANSWER_CLASSES}
      val = {"val__loss": 2.1 - x, "val__invalid_rate": 0.1 * (1 - x)}
      yield line(step, val__accuracy=x, **val) | by_class


def evaluation(num=300):
  rng = np.random.default_rng(0)
  answer = rng.integers(0, 27, num)  # The last answer never occurs.
  predicted = np.where(rng.random(num) < 0.7, answer, 3)
  return metrics.evaluate_predictions(
    predicted,
    answer,
    np.ones(num),
    list(ANSWERS),
    np.full(num, -1),
    np.full(num, -1),
    [""] * num,
  )


@pytest.fixture
def workdir(tmp_path):
  write_lines(tmp_path, run_lines())
  (tmp_path / "eval_val.json").write_text(
    json.dumps(evaluation() | {"question_only_accuracy": 0.43})
  )
  return tmp_path


@pytest.fixture
def notes(caplog, monkeypatch):
  monkeypatch.setattr(absl_logging.get_absl_logger(), "propagate", True)
  caplog.set_level(logging.WARNING, logger="absl")
  return lambda: [r.getMessage() for r in caplog.records]


def test_draws_every_picture(workdir, notes):
  paths = run_plots.plot_workdir(workdir)
  assert sorted(p.stem for p in paths) == ALL
  assert sorted((workdir / "plots").iterdir()) == sorted(paths)
  for path in paths:
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000
  assert notes() == []


def test_command_prints_the_paths_without_pyplot(workdir):
  code = (
    "import runpy, sys\n"
    "try:\n"
    "  runpy.run_module('rn_jax.plots', run_name='__main__')\n"
    "finally:\n"
    "  assert 'matplotlib.pyplot' not in sys.modules\n"
  )
  result = subprocess.run(
    [sys.executable, "-c", code, f"--workdir={workdir}"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  assert sorted(pathlib.Path(p).stem for p in result.stdout.split()) == ALL


def test_nothing_to_draw_says_what_to_run(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"metrics\.jsonl.*--mode=train"):
    run_plots.plot_workdir(tmp_path)


def test_only_an_evaluation(workdir, notes):
  (workdir / "metrics.jsonl").unlink()
  assert [p.stem for p in run_plots.plot_workdir(workdir)] == ["confusion_val"]
  assert any("metrics.jsonl; --mode=train" in note for note in notes())


def test_a_run_that_was_never_evaluated(tmp_path, notes):
  write_lines(tmp_path, run_lines(steps=3))
  drawn = sorted(p.stem for p in run_plots.plot_workdir(tmp_path))
  assert drawn == ["learning_rate", "loss"]
  text = "\n".join(notes())
  assert "No picture of accuracy: no val/accuracy in" in text
  assert "no eval_<split>.json" in text


@pytest.mark.parametrize(
  "content",
  ["{", "[]", '{"accuracy": 1}', '{"confusion": {"answers": ["yes"], '
   '"counts": [[1, 2]]}}'],
)  # fmt: skip
def test_broken_evaluation_is_named(workdir, content):
  (workdir / "eval_val.json").write_text(content)
  with pytest.raises(ValueError, match=r"eval_val\.json.*--mode=evaluate"):
    run_plots.plot_workdir(workdir)


@pytest.mark.parametrize("count", [1, 2, 150])
def test_any_number_of_points(tmp_path, count):
  write_lines(tmp_path, run_lines(count, val_every=1))
  assert len(run_plots.plot_workdir(tmp_path)) == 4


def test_read_metrics_merges_lines_of_a_step(tmp_path):
  path = write_lines(
    tmp_path,
    [
      line(5, train__loss=1.0),
      line(5, val__accuracy=0.5, val__by=None),
      line(9, train__loss=0.5),
    ],
  )
  series = run_plots.read_metrics(path)
  assert set(series) == {"train/loss", "val/accuracy"}
  assert series["train/loss"]["step"].tolist() == [5, 9]
  assert series["train/loss"]["epoch"].tolist() == [0.5, 0.9]
  assert series["train/loss"]["value"].tolist() == [1.0, 0.5]


def test_read_metrics_after_a_resume(tmp_path):
  """The run fell back from step 30 to 20, and has come to 25."""
  first = [line(s, train__loss=float(s)) for s in (10, 20, 30)]
  second = [line(s, train__loss=-float(s)) for s in (20, 25)]
  series = run_plots.read_metrics(write_lines(tmp_path, first + second))
  assert series["train/loss"]["value"].tolist() == [10, -20, -25]


@pytest.mark.parametrize("tail", ['{"step": 3, "epo', "[1]\n", '{"step": 3}\n'])
def test_read_metrics_skips_a_broken_line(tmp_path, tail, notes):
  lines = [line(1, train__loss=1.0), line(2, train__loss=2.0)]
  series = run_plots.read_metrics(write_lines(tmp_path, lines, ending=tail))
  assert series["train/loss"]["value"].tolist() == [1.0, 2.0]
  assert len(notes()) == 1
  assert "skipped line 3" in notes()[0]


def test_confusion_is_in_per_cent_of_the_row():
  result = evaluation()
  figure = draw_confusion(result, "val")
  axes = figure.axes[0]
  shown = axes.images[0].get_array()
  counts = np.array(result["confusion"]["counts"])
  np.testing.assert_allclose(shown[0], 100 * counts[0] / counts[0].sum())
  np.testing.assert_allclose(shown[:27].sum(axis=1), 100)
  texts = [t for t in axes.texts if "no questions" in t.get_text()]
  assert [t.get_position()[1] for t in texts] == [27]
  borders = np.cumsum([len(c) for c in ANSWER_CLASSES.values()])[:-1] - 0.5
  across = [x.get_ydata()[0] for x in axes.lines if len(set(x.get_ydata())) < 2]
  assert across == borders.tolist()


@pytest.mark.parametrize("accuracy", [0.0, 0.43, 1.0])
def test_end_labels_keep_apart_and_in_order(accuracy):
  point = {"step": np.ones(1), "epoch": np.ones(1), "value": np.ones(1)}
  series = {
    f"val/by_answer_class/{name}": point | {"value": np.array([accuracy])}
    for name in ANSWER_CLASSES
  } | {"val/accuracy": point | {"value": np.array([0.431])}}
  figure = curves.draw_accuracy(series, question_only=0.429)
  heights = {
    text.get_text().split()[0]: text.get_position()[1]
    for text in figure.axes[0].texts
  }
  assert set(heights) == {*ANSWER_CLASSES, "all", "question"}
  assert np.diff(sorted(heights.values())).min() > 4
  assert heights["question"] < heights["all"]
  assert min(heights.values()) >= -0.1
  assert max(heights.values()) <= 102.1


def test_smoothing_equals_a_loop():
  value = np.random.default_rng(0).normal(size=23)
  smooth = curves._smooth({"value": value}, half=4)["value"]
  for i in range(23):
    before = min(4, i)
    expected = value[i - before : i + min(before, 22 - i) + 1].mean()
    assert smooth[i] == pytest.approx(expected)


def test_by_template_where_the_run_knows_it(tmp_path):
  keys = [f"val/by_template/{n}" for n in ("zero_hop", "one_hop")]
  lines = [
    line(step, val__accuracy=0.3) | {keys[0]: step / 100, keys[1]: 0.2}
    for step in (10, 20)
  ]
  drawn = run_plots.plot_workdir(write_lines(tmp_path, lines).parent)
  assert "by_template" in [path.stem for path in drawn]
  series = run_plots.read_metrics(tmp_path / "metrics.jsonl")
  axes = curves.draw_by_template(series).axes[0]
  texts = [text.get_text() for text in axes.texts]
  assert sorted(texts) == ["all 30.0 %", "one hop 20.0 %", "zero hop 20.0 %"]
  drawn = [x.get_ydata() for x in axes.lines if len(set(x.get_ydata())) == 2]
  np.testing.assert_allclose(drawn[0], [10, 20])


def curve(epochs, values):
  epochs = np.asarray(epochs, float)
  return {"step": epochs, "epoch": epochs, "value": np.asarray(values, float)}


def test_a_huge_first_loss_does_not_flatten_the_rest():
  train = curve(
    np.arange(1, 53) / 4, [9.8, 1.9, 1.3, *np.linspace(1.2, 0.9, 49)]
  )
  val = curve(range(14), [35.6, *np.linspace(1.2, 0.97, 13)])
  axes = curves.draw_loss({"train/loss": train, "val/loss": val}).axes[0]
  low, high = axes.get_ylim()
  assert 0.8 < low < 0.9
  assert 1.2 < high < 1.4
  assert "not shown: the start, up to 35.6" in [
    t.get_text() for t in axes.texts
  ]


def test_a_loss_that_falls_far_is_on_a_logarithmic_axis():
  train = curve(range(1, 41), np.geomspace(1.5, 0.01, 40))
  figure = curves.draw_loss({"train/loss": train, "val/loss": train})
  axes = figure.axes[0]
  assert axes.get_yscale() == "log"
  assert axes.get_ylim()[0] < 0.01 < 1.5 < axes.get_ylim()[1]
  assert not any("not shown" in text.get_text() for text in axes.texts)
  # The labels of two curves that end together keep apart on this axis, too.
  below, above = sorted(text.get_position()[1] for text in axes.texts)
  assert above / below > 1.2


@pytest.mark.parametrize("length", [10, 120])
def test_names_of_runs_stay_in_the_picture(length):
  series = {"questions": np.array([0.0, 1e6]), "value": np.array([0.0, 0.5])}
  means = {"val/accuracy": series, "val/by_answer_class/size": series}
  ranges = {key: np.stack([series["value"]] * 2) for key in means}
  drawn = [
    rows.RowCurves(f"{i}/" + "x" * length, means, ranges) for i in range(20)
  ]
  figure = rows.draw_rows(drawn)
  renderer = FigureCanvasAgg(figure).get_renderer()
  figure.draw(renderer)
  (legend,) = figure.legends
  box = legend.get_window_extent(renderer)
  assert box.x0 >= 0
  assert box.x1 <= figure.bbox.x1
  assert box.y0 >= 0
  lines = [(h.get_color(), h.get_linestyle()) for h in legend.legend_handles]
  assert len(set(lines)) == 20
