"""Whole reports, of networks with random weights on tiny records."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT
from small_network import write_network

from configs import tiny
from rn_jax import metrics
from rn_jax.checkpoint import load_model, write_model
from rn_jax.clevr import ANSWER_CLASSES, ANSWERS
from rn_jax.report.__main__ import report


def evaluation(seed):
  rng = np.random.default_rng(seed)
  answer = rng.integers(0, len(ANSWERS), 100)
  predicted = np.where(rng.random(100) < 0.6, answer, 0)
  unknown = np.full(100, -1)
  return metrics.evaluate_predictions(
    predicted,
    answer,
    np.ones(100),
    list(ANSWERS),
    unknown,
    unknown,
    [""] * 100,
  )


def write_run(folder, records_dir, seed=0, steps=4, **changes):
  """What a training leaves: config, measurements, evaluation."""
  config = tiny.get_config("original_sd")
  config.data.dir, config.seed = str(records_dir), seed
  config.train.num_epochs = 4.0
  config.optimizer.schedule = "doubling"  # as the paper's
  config.update_from_flattened_dict(changes)
  folder.mkdir(parents=True)
  content = {"config": config.to_dict()}
  (folder / "config.json").write_text(json.dumps(content))
  lines = []
  for step in range(steps + 1):
    line = {"step": step, "epoch": float(step), "time": 0.0}
    line["val/accuracy"] = (0.15 + seed / 100) * step
    for name in ANSWER_CLASSES:
      line[f"val/by_answer_class/{name}"] = 0.1 * step
    lines.append(json.dumps(line) + "\n")
  (folder / "metrics.jsonl").write_text("".join(lines))
  (folder / "eval_val.json").write_text(json.dumps(evaluation(seed)))
  return config


def files_of(markdown):
  return re.findall(r"!\[.*?\]\((.+?)\)", markdown)


@pytest.fixture
def sweep(tmp_path, records_dir):
  folder = tmp_path / "sweep"
  for seed in (0, 1):
    write_run(folder / f"rn-{seed}", records_dir, seed)
  write_run(folder / "wide-0", records_dir, **{"model.lstm_units": 77})
  return folder


def test_compares_runs(sweep, tmp_path):
  pages = report([sweep], tmp_path / "out")
  assert [page.name for page in pages] == ["report.html", "report.md"]
  html, markdown = (page.read_text() for page in pages)
  assert "2 experiments, 3 runs" in html
  accuracies = [100 * evaluation(seed)["accuracy"] for seed in (0, 1)]
  half = 12.7062 * abs(accuracies[0] - accuracies[1]) / 2
  figure = f"{np.mean(accuracies):.1f} ± {half:.1f}"
  assert f"| rn | 0, 1 | {figure} |" in markdown
  assert figure in html
  assert "97.9" in markdown  # of the paper
  assert "Thousands of questions read until" in markdown
  # Only what differs, without the seed.
  settings = markdown.partition("## What differs")[2]
  assert re.findall(r"^\| ([a-z]+\.\S+) \|", settings, re.M) == [
    r"model.lstm\_units"
  ]
  files = files_of(markdown)
  assert len(files) == 5  # all curves; of each row its own, and its confusion
  assert all((tmp_path / "out" / name).exists() for name in files)


def test_a_page_asks_for_nothing(sweep, tmp_path):
  html = report([sweep], tmp_path / "out")[0].read_text()
  assert "<script" not in html
  assert not re.search(r'(?:src|href)="(?!data:|#)', html)
  assert not re.search(r"url\((?!#)", html)
  ids = re.findall(r'\bid="([^"]+)"', html)
  assert len(ids) == len(set(ids))
  assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(ids)


def test_runs_that_were_not_evaluated_are_left_out(
  sweep, tmp_path, records_dir
):
  write_run(sweep / "short-0", records_dir, steps=2, **{"model.lstm_units": 5})
  (sweep / "short-0" / "eval_val.json").unlink()
  text = report([sweep], tmp_path / "out")[1].read_text().replace("\\", "")
  assert f"{sweep / 'short-0'} has no eval_val.json" in text
  assert "come to epoch 2 of 4" in text
  assert f"--mode=evaluate --workdir={sweep / 'short-0'} --split=val" in text
  for name in ("rn-0", "rn-1", "wide-0"):
    shutil.rmtree(sweep / name)
  write_run(sweep / "other-0", records_dir)
  (sweep / "other-0" / "eval_val.json").unlink()
  with pytest.raises(ValueError, match=r"none of 2 runs.*other-0 has no eval"):
    report([sweep], tmp_path / "out")


def test_interrupted_runs_say_so(sweep, tmp_path, records_dir):
  write_run(sweep / "short-0", records_dir, steps=2, **{"model.lstm_units": 5})
  text = report([sweep], tmp_path / "out")[1].read_text()
  assert "short-0: its training has come to epoch 2 of 4" in text


def test_what_is_no_run_is_named(tmp_path, sweep):
  with pytest.raises(ValueError, match=r"none: no such folder; name folders"):
    report([tmp_path / "none"], tmp_path / "out")
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match=r"empty is no run: it has no config"):
    report([sweep, tmp_path / "empty"], tmp_path / "out")
  with pytest.raises(ValueError, match="rn-0 is named twice"):
    report([sweep, sweep / "rn-0"], tmp_path / "out")
  with pytest.raises(ValueError, match="for the report of one run"):
    report([sweep], tmp_path / "out", data_dir=tmp_path)
  for broken in ("{", "{}", '{"config": 5}'):
    (sweep / "rn-0" / "config.json").write_text(broken)
    with pytest.raises(ValueError, match=r"rn-0/config.json cannot be read"):
      report([sweep], tmp_path / "out")
  assert not (tmp_path / "out").exists()


def test_damaged_evaluations_are_named(sweep, tmp_path):
  (sweep / "rn-1" / "eval_val.json").write_text('{"accuracy": 1.0}')
  with pytest.raises(ValueError, match=r"eval_val.json is no complete eval"):
    report([sweep], tmp_path / "out")
  old = evaluation(1)
  del old["by_question_type"]
  (sweep / "rn-1" / "eval_val.json").write_text(json.dumps(old))
  with pytest.raises(ValueError, match=r"has no by_question_type; write it"):
    report([sweep], tmp_path / "out")


@pytest.mark.parametrize("name", ["original_sd", "original_fp"])
def test_explains_a_run(name, tmp_path, records_dir):
  run = tmp_path / "run"
  config = write_run(run, records_dir)
  if name == "original_fp":
    config = tiny.get_config(name)
    config.data.dir = str(records_dir)
  write_network(run / "checkpoints", config)
  html, markdown = (
    page.read_text() for page in report([run], tmp_path / "out")
  )
  assert "Where run errs" in html
  assert "The best network of this run answers 20 questions of val" in html
  files = files_of(markdown)
  assert all((tmp_path / "out" / file).exists() for file in files)
  kind = ".svg" if name == "original_sd" else ".jpg"
  assert f"pictures/mistake-01{kind}" in files
  # Pixels do not tell how many objects there are; the records do.
  assert "pictures/by-objects-in-the-scene.svg" in files
  assert "The expected calibration error is" in markdown
  assert re.search(r"^\| (zero|one) hop \d+ \|", markdown, re.M)
  assert "pictures/by-functions-in-the-program.svg" in files
  assert f"data:image/{'jpeg' if kind == '.jpg' else 'png'};base64" in html


def test_a_network_without_its_run_is_explained_on_other_records(
  tmp_path, records_dir
):
  config = tiny.get_config("original_sd")
  config.data.dir = str(records_dir)
  write_network(tmp_path / "net" / "checkpoints", config)
  shutil.copytree(records_dir, tmp_path / "records")
  pages = report(
    [tmp_path / "net"], tmp_path / "out", data_dir=tmp_path / "records"
  )
  assert "there is no metrics.jsonl" in pages[1].read_text()


def test_records_that_went_are_named(tmp_path, records_dir):
  config = tiny.get_config("original_sd")
  config.data.dir = str(records_dir)
  write_network(tmp_path / "net" / "checkpoints", config)
  variables, meta = load_model(tmp_path / "net")
  for name, place, said in (
    ("moved", str(tmp_path / "gone"), r"moved: .*gone, are not here.*data_dir"),
    ("given", "", r"given: .*of an unknown folder, are not here.*data_dir"),
  ):
    meta["config"]["data"]["dir"] = place
    write_model(
      tmp_path / name / "checkpoints",
      variables,
      config=meta["config"],
      vocabulary=meta["vocabulary"],
    )
    with pytest.raises(ValueError, match=said):
      report([tmp_path / name], tmp_path / "out")
  (tmp_path / "run" / "checkpoints").mkdir(parents=True)
  with pytest.raises(ValueError, match="no checkpoint here"):
    report([tmp_path / "run"], tmp_path / "out")


def test_the_command(tmp_path):
  done = subprocess.run(
    [
      *(sys.executable, "-m", "rn_jax.report"),
      *(f"--workdirs={tmp_path / 'no'}", f"--output={tmp_path / 'out'}"),
    ],
    capture_output=True,
    text=True,
    cwd=ROOT,
  )
  assert done.returncode == 1
  assert re.search(r"^error: .*no: no such folder", done.stderr, re.M)
