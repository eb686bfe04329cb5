"""How much a run had read, and how long that took, by its metrics.

`series` is what plots.run_plots.read_metrics returns.
"""

from collections.abc import Mapping

import numpy as np


def questions_between(series: Mapping, batch_size: int) -> np.ndarray:
  """Returns how many questions were read between log lines.

  Args:
    series: Of the run.
    batch_size: Of a run that an older version began, whose lines do not tell;
      where batches grow, they tell of those since the line before.
  """
  steps = series["train/samples_per_second"]["step"]
  told = series.get("train/questions")
  if told and len(told["value"]) == len(steps):
    return np.diff(told["value"], prepend=0)
  grown = series.get("train/batch_size")
  return np.diff(steps, prepend=0) * (grown["value"] if grown else batch_size)


def seconds_between(series: Mapping, questions: np.ndarray) -> np.ndarray:
  """Returns how long the updates took that read these, evaluations left out."""
  return questions / series["train/samples_per_second"]["value"]


def questions_read(
  series: Mapping, batch_size: int, steps: np.ndarray
) -> np.ndarray:
  """Returns how many questions had been read after so many updates."""
  if "train/samples_per_second" not in series:  # no line was written
    return steps * batch_size
  lines = np.append(0, series["train/samples_per_second"]["step"])
  read = np.append(0, questions_between(series, batch_size).cumsum())
  # Beyond the last line it goes on as before it.
  pace = (read[-1] - read[-2]) / (lines[-1] - lines[-2])
  beyond = np.maximum(steps - lines[-1], 0) * pace
  return np.interp(steps, lines, read) + beyond
