"""What runs left in their folders, and which of them are one experiment."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from rn_jax.plots.curves import Series
from rn_jax.plots.run_plots import read_evaluation, read_metrics
from rn_jax.run_series import questions_read
from rn_jax.settings import read_config

# Of an evaluation, besides its confusion matrix.
_NEEDED = (
  "accuracy",
  "num_examples",
  "invalid_rate",
  "by_answer_class",
  "by_question_type",
)


@dataclasses.dataclass(frozen=True)
class Run:
  """One training.

  Attributes:
    name: What tells it from the others of a report.
    config: Its config by dotted key, but for the seed.
    seed: The seed.
    series: What it measured; see plots.run_plots.read_metrics.
    scores: The evaluation of its best checkpoint; see metrics.py.
    note: What is to be known of it: that it did not end. Else empty.
  """

  name: str
  config: dict[str, Any]
  seed: int
  series: dict[str, Series]
  scores: dict
  note: str = ""

  @property
  def batch_size(self) -> int:
    return self.config["train.batch_size"]

  @property
  def questions_seen(self) -> int | None:
    """Training questions read until the last evaluation."""
    if "val/accuracy" not in self.series:
      return None
    last = self.series["val/accuracy"]["step"][-1:]
    return round(questions_read(self.series, self.batch_size, last)[0])


class NotEvaluatedError(ValueError):
  """A run has no evaluation to report."""


def find_runs(folders: Sequence[str]) -> list[Path]:
  """Returns the folders of runs; a folder of runs, as of a sweep, is its runs.

  Raises:
    ValueError: A folder is not there, is neither, or is named twice.
  """
  found = []
  for folder in map(Path, folders):
    if not folder.is_dir():
      raise ValueError(
        f"{folder}: no such folder; name folders that launch.py --mode=train "
        "has made (its --workdir)"
      )
    if (folder / "config.json").exists() or (folder / "checkpoints").is_dir():
      found.append(folder)
      continue
    members = sorted(path.parent for path in folder.glob("*/config.json"))
    if not members:
      raise ValueError(
        f"{folder} is no run: it has no config.json; name folders that "
        "launch.py --mode=train has made (its --workdir)"
      )
    found += members
  places = [path.resolve() for path in found]
  if twice := [path for path in found if places.count(path.resolve()) > 1]:
    raise ValueError(f"{twice[0]} is named twice; name each run once")
  return found


def read_run(folder: Path, name: str, split: str) -> Run:
  """Reads a run that was evaluated.

  Args:
    folder: Its workdir.
    name: What to call it.
    split: Of the evaluation.

  Raises:
    NotEvaluatedError: It was not; says whether it was interrupted.
    ValueError: A file cannot be read. All name the folder and the remedy.
  """
  path = folder / "config.json"
  try:
    saved = json.loads(path.read_text())["config"]
    config, seed = flat_config(saved)
  except FileNotFoundError:
    raise ValueError(
      f"{folder} has no config.json, so nothing tells what was trained; a "
      "network without its run can be reported alone"
    ) from None
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(
      f"{path} cannot be read ({type(error).__name__}: {error}); the run's "
      "launch.py --mode=train command writes it anew"
    ) from error
  series = read_series(folder)
  note = unfinished(config, series)
  evaluation = folder / f"eval_{split}.json"
  if not evaluation.exists():
    why = "it was not evaluated on that split"
    if not series:
      why = "its training has not come to measure anything"
    raise NotEvaluatedError(
      f"{folder} has no eval_{split}.json: {note or why}"
      ". Evaluate it with python launch.py --mode=evaluate "
      f"--workdir={folder} --split={split}"
    )
  scores = read_evaluation(evaluation)
  if missing := [key for key in _NEEDED if key not in scores]:
    raise ValueError(
      f"{evaluation} has no {missing[0]}; write it anew with python launch.py "
      f"--mode=evaluate --workdir={folder} --split={split}"
    )
  return Run(name, config, seed, series, scores, note)


def flat_config(saved: dict) -> tuple[dict[str, Any], int]:
  """Returns a saved config by dotted key without its seed, and the seed.

  Older configs get what today's have, so that all can be compared.
  """
  nested = json.loads(read_config(saved).to_json())  # lists, no tuples
  seed = nested.pop("seed")
  return dict(flatten_dict(nested, sep=".")), seed


def read_series(folder: Path) -> dict[str, Series]:
  """Returns what a run measured; nothing where it has no metrics.jsonl."""
  path = folder / "metrics.jsonl"
  return read_metrics(path) if path.exists() else {}


def unfinished(config: dict[str, Any], series: dict[str, Series]) -> str:
  """Says how far a run came that did not end; empty if it did."""
  if not series:
    return ""
  step, epoch = max(
    (float(s["step"][-1]), float(s["epoch"][-1])) for s in series.values()
  )
  total = config["train.num_epochs"]
  # An update less, as a run ends with a whole one, and the last may be larger
  # than the others; epochs have four decimals.
  least = 1.0
  if grown := series.get("train/batch_size"):
    read = questions_read(series, config["train.batch_size"], np.array(step))
    least = float(grown["value"][-1]) * step / read
  if step and (total - epoch) * step / epoch <= least + 1e-4 * step / epoch:
    return ""
  return (
    f"its training has come to epoch {epoch:.4g} of {total:.4g}; if it is not "
    "at work, its launch.py --mode=train command goes on there"
  )
