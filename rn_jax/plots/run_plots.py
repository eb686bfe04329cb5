"""Draws what a run measured, from the files in its workdir alone."""

import json
import os
from pathlib import Path

import numpy as np
from absl import logging
from matplotlib.figure import Figure

from rn_jax.host.atomic import replacing
from rn_jax.host.paths import local_path
from rn_jax.plots import curves
from rn_jax.plots.confusion import draw_confusion
from rn_jax.plots.curves import Series


def plot_workdir(workdir: str | os.PathLike) -> list[Path]:
  """Draws every picture for which the workdir has data.

  Args:
    workdir: Folder of the run.

  Returns:
    The files written, all in workdir/plots.

  Raises:
    FileNotFoundError: The workdir has nothing to draw.
    ValueError: An evaluation file cannot be read.
  """
  workdir = Path(local_path(workdir))
  metrics_path = workdir / "metrics.jsonl"
  evaluations = {
    path.stem.removeprefix("eval_"): read_evaluation(path)
    for path in sorted(workdir.glob("eval_*.json"))
  }
  if not metrics_path.exists() and not evaluations:
    raise FileNotFoundError(
      f"{workdir} holds neither metrics.jsonl nor eval_<split>.json. Write "
      "them with python launch.py --mode=train (or --mode=evaluate) "
      f"--workdir={workdir}"
    )
  drawn = {}
  if metrics_path.exists():
    blind = [e.get("question_only_accuracy") for e in evaluations.values()]
    drawn |= _draw_curves(
      read_metrics(metrics_path),
      metrics_path,
      question_only=next((b for b in blind if b is not None), None),
    )
  else:
    logging.warning("No curves: no %s; --mode=train writes it", metrics_path)
  for split, evaluation in evaluations.items():
    drawn[f"confusion_{split}"] = draw_confusion(evaluation, split)
  if not evaluations:
    logging.warning(
      "No confusion matrix: no eval_<split>.json in %s; --mode=evaluate "
      "writes it",
      workdir,
    )
  return [_save(figure, workdir, name) for name, figure in drawn.items()]


def plot_confusion(workdir: Path, evaluation: dict, split: str) -> Path:
  """Draws the confusion matrix of one evaluation; see metrics.py for that.

  Returns:
    The file written, in workdir/plots.
  """
  figure = draw_confusion(evaluation, split)
  return _save(figure, workdir, f"confusion_{split}")


def read_metrics(path: Path) -> dict[str, Series]:
  """Reads metrics.jsonl: {name: {"step", "epoch", "value"}}.

  A line that a crash cut short is skipped with a note. Where a run resumed
  from an earlier step, what it had written from there on no longer counts.
  """
  lines = {}  # Step to its lines, merged; in the order of the steps.
  with open(path) as file:
    for number, text in enumerate(file, start=1):
      try:
        line = json.loads(text)
        step, _ = line["step"], line["epoch"]
      except (ValueError, TypeError, KeyError, RecursionError):
        logging.warning("%s: skipped line %d, which is broken", path, number)
        continue
      if lines and step < next(reversed(lines)):
        lines = {s: known for s, known in lines.items() if s < step}
      lines.setdefault(step, {}).update(line)
  names = {name for line in lines.values() for name in line}
  series = {}
  for name in names - {"step", "epoch", "time"}:
    rows = [
      (step, line["epoch"], line[name])
      for step, line in lines.items()
      if line.get(name) is not None
    ]
    if rows:
      columns = np.array(rows, np.float64).T
      series[name] = dict(zip(("step", "epoch", "value"), columns, strict=True))
  return series


def read_evaluation(path: Path) -> dict:
  """Reads an eval_<split>.json.

  Raises:
    ValueError: It is damaged; says so with the remedy.
  """
  try:
    evaluation = json.loads(path.read_text())
    counts = np.array(evaluation["confusion"]["counts"])
    size = len(evaluation["confusion"]["answers"])
    if counts.shape != (size, size):
      raise ValueError(f"{counts.shape} counts for {size} answers")
    for name in "num_examples", "accuracy":
      float(evaluation[name])
  except (ValueError, TypeError, KeyError, RecursionError) as e:
    raise ValueError(
      f"{path} is no complete evaluation ({type(e).__name__}: {e}). Write it "
      "anew with python launch.py --mode=evaluate"
    ) from e
  return evaluation


def _draw_curves(
  series: dict[str, Series], path: Path, question_only: float | None
) -> dict[str, Figure]:
  """Draws what there is and notes what there is not."""
  drawn = {}
  for name, needed, draw in (
    (
      "accuracy",
      "val/accuracy",
      lambda s: curves.draw_accuracy(s, question_only),
    ),
    ("loss", "train/loss", curves.draw_loss),
    ("invalid_rate", "val/invalid_rate", curves.draw_invalid_rate),
    ("learning_rate", "train/learning_rate", curves.draw_learning_rate),
  ):
    if needed in series:
      drawn[name] = draw(series)
    else:
      logging.warning("No picture of %s: no %s in %s", name, needed, path)
  if curves.has_templates(series):  # Not every data set knows its templates.
    drawn["by_template"] = curves.draw_by_template(series)
  return drawn


def _save(figure: Figure, workdir: Path, name: str) -> Path:
  path = workdir / "plots" / f"{name}.png"
  path.parent.mkdir(exist_ok=True)
  with replacing(path) as temporary:
    figure.savefig(temporary, format="png", dpi=150)
  return path
