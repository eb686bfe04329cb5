"""Runs side by side: rows of seeds, their means, and what tells them apart."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rn_jax.data.curriculum import parse_stage
from rn_jax.plots.curves import Series
from rn_jax.report.runs import Run
from rn_jax.retrieval.scores.ranking import mean_and_interval
from rn_jax.run_series import questions_read
from rn_jax.settings import LENGTHS, PATIENCE, STAGES


@dataclasses.dataclass(frozen=True)
class Row:
  """Runs whose configs differ in the seed alone, and in their pace."""

  name: str
  runs: list[Run]


def group_runs(runs: Sequence[Run]) -> list[Row]:
  """Makes rows of runs, in the order of their first ones.

  Raises:
    ValueError: Two runs have one config and one seed: no two samples.
  """
  groups: list[list[Run]] = []
  for run in runs:
    for group in groups:
      if not _are_alike(group[0].config, run.config):
        continue
      twins = [other for other in group if other.seed == run.seed]
      if not twins:
        group.append(run)
        break
      if twins[0].config == run.config:
        raise ValueError(
          f"{twins[0].name} and {run.name} have one config and one seed, and "
          "would count as two; leave one of them out"
        )
    else:
      groups.append([run])
  names = [_row_name(group) for group in groups]
  return [
    Row(
      name if names.count(name) == 1 else ", ".join(r.name for r in group),
      group,
    )
    for name, group in zip(names, groups, strict=True)
  ]


def _are_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
  """Returns whether configs are equal but for what a trial has decided.

  With train.max_minutes it makes all lengths shorter in one proportion, which
  depends on the pace that a run had at its start. How many evaluations are left
  depends on it, too.
  """
  differing = differing_keys([one, other]).keys()
  if not differing:
    return True
  if one.get("train.max_minutes") is None:
    return False
  if differing - {*LENGTHS, STAGES, PATIENCE}:
    return False
  fixed, lengths = zip(*map(_by_length, (one, other)), strict=True)
  return fixed[0] == fixed[1] and np.allclose(*lengths, rtol=0.01, atol=0)


def _by_length(config: Mapping[str, Any]) -> tuple[list, list[float]]:
  """Returns what of the lengths no trial changes, and their proportions."""
  stages = [parse_stage(text) for text in config.get(STAGES, ())]
  keys = [k for k in LENGTHS if k in config and k != "train.eval_every"]
  lengths = [config[key] for key in keys] + [s.questions for s in stages]
  whole = config["train.num_epochs"]
  return (
    [*keys, *(stage._replace(questions=0) for stage in stages)],
    [length / whole for length in lengths],
  )


def _row_name(runs: Sequence[Run]) -> str:
  """What a sweep called the config: x of x-0 and x-1; or the first's name."""
  stems = {run.name.removesuffix(f"-{run.seed}") for run in runs}
  if len(stems) == 1:
    return stems.pop()
  return f"{runs[0].name} and {len(runs) - 1} more"


def interval(values: Sequence[float | None]) -> tuple[float, float] | None:
  """Returns mean and half of the 95 % interval by t; None without values.

  The half is NaN for one value.
  """
  known = np.array([v for v in values if v is not None], np.float64)
  return mean_and_interval(known)[:2] if len(known) else None


def percent(values: Sequence[float | None]) -> str:
  """Writes rates in per cent: "63.7 ± 0.9" by interval, "63.7", or "–"."""
  return _written(interval(values), 100, ".1f")


def thousands(values: Sequence[float | None]) -> str:
  """Writes numbers in thousands: as percent does, or "120 (2 of 3)".

  Where some are None there is no interval, but how many are not.
  """
  known = [value for value in values if value is not None]
  found = interval(known)
  if found is None or len(known) == len(values):
    return _written(found, 1e-3, ",.0f")
  mean = _written((found[0], np.nan), 1e-3, ",.0f")
  return f"{mean} ({len(known)} of {len(values)})"


def _written(found: tuple[float, float] | None, scale: float, form: str) -> str:
  if found is None:
    return "–"
  mean, half = (format(scale * x, form) for x in found)
  return mean if np.isnan(found[1]) else f"{mean} ± {half}"


def differing_keys(
  configs: Sequence[Mapping[str, Any]],
) -> dict[str, list[Any]]:
  """Returns the keys whose values differ: each with a value per config.

  A key that a config does not have is None there.
  """
  keys = dict.fromkeys(key for config in configs for key in config)
  values = {key: [config.get(key) for config in configs] for key in keys}
  return {
    key: column
    for key, column in sorted(values.items())
    if any(value != column[0] for value in column)
  }


def own_settings(
  configs: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
  """Returns of each config what differs from the value that most have.

  Of values as frequent, the first config's counts as that of most.
  """
  own: list[dict[str, Any]] = [{} for _ in configs]
  for key, column in differing_keys(configs).items():
    most = max(column, key=column.count)
    for settings, value in zip(own, column, strict=True):
      if value != most:
        settings[key] = value
  return own


def mean_series(
  runs: Sequence[Run],
) -> tuple[dict[str, Series], dict[str, np.ndarray]]:
  """Averages what runs measured, by how many questions they had read.

  Where they measured at different times, between two measurements a quantity is
  taken to change evenly; it ends with the run that ended first.

  Returns:
    The means, as read_metrics has them, with the `questions` read; and of each
    quantity the lowest and the highest value of a run, [2, n].
  """
  names = set.intersection(*(set(run.series) for run in runs))
  means, ranges = {}, {}
  for name in sorted(names):
    every = [run.series[name] for run in runs]
    read = [
      questions_read(run.series, run.batch_size, one["step"])
      for run, one in zip(runs, every, strict=True)
    ]
    first = min(range(len(runs)), key=lambda i: read[i][-1])
    inside = read[first] >= max(x[0] for x in read)
    if not inside.any():
      continue
    grid = read[first][inside]
    values = np.stack(
      [
        np.interp(grid, x, one["value"])
        for x, one in zip(read, every, strict=True)
      ]
    )
    means[name] = {
      "step": every[first]["step"][inside],
      "epoch": every[first]["epoch"][inside],
      "questions": grid,
      "value": values.mean(0),
    }
    ranges[name] = np.stack([values.min(0), values.max(0)])
  return means, ranges


def questions_until(run: Run, accuracy: float) -> float | None:
  """Returns after how many questions validation first had an accuracy.

  Between two evaluations the accuracy is taken to grow evenly. None: it never
  had it, or nothing was measured.
  """
  if "val/accuracy" not in run.series:
    return None
  series = run.series["val/accuracy"]
  values = series["value"]
  reached = np.flatnonzero(values >= accuracy)
  if not len(reached):
    return None
  read = questions_read(run.series, run.batch_size, series["step"])
  first = int(reached[0])
  around = slice(max(first - 1, 0), first + 1)
  return float(np.interp(accuracy, values[around], read[around]))


def evaluated_on(runs: Sequence[Run]) -> list[list[Run]]:
  """Groups runs by the data of their evaluations, in the order of the runs.

  Evaluations of earlier versions, which do not tell, are with the first group
  that has as many questions.
  """
  groups: list[list[Run]] = []
  for run in sorted(runs, key=lambda run: "data_sha256" not in run.scores):
    mine = run.scores
    for group in groups:
      other = group[0].scores
      known = "data_sha256" in mine and "data_sha256" in other
      key = "data_sha256" if known else "num_examples"
      if mine.get(key) == other.get(key):
        group.append(run)
        break
    else:
      groups.append([run])
  return groups


def pooled(runs: Sequence[Run]) -> dict:
  """Returns mean accuracy and summed confusion, as one evaluation.

  Raises:
    ValueError: The runs were evaluated on different data.
  """
  first = runs[0].scores
  counts = [np.array(run.scores["confusion"]["counts"]) for run in runs]
  if any(
    run.scores["confusion"]["answers"] != first["confusion"]["answers"]
    for run in runs
  ):
    raise ValueError(
      f"{runs[0].name} and other seeds of it were evaluated with different "
      "answers; evaluate them on the same records"
    )
  if len(evaluated_on(runs)) > 1:
    raise ValueError(
      f"{runs[0].name} and other seeds of it were evaluated on different data; "
      "evaluate them on the same records"
    )
  return first | {
    "num_runs": len(runs),
    "accuracy": float(np.mean([run.scores["accuracy"] for run in runs])),
    "confusion": first["confusion"] | {"counts": np.sum(counts, 0).tolist()},
  }
