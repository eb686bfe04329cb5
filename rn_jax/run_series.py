"""How much a run had read, and how long that took, by its metrics.

`series` is what plots.run_plots.read_metrics returns.
"""

from collections.abc import Mapping

import numpy as np


def questions_between(series: Mapping, batch_size: int) -> np.ndarray:
  """Returns how many questions were read between log lines.

  Those since the line before are in batches of one size: `batch_size`, or what
  the line says where batches grow.
  """
  steps = series["train/samples_per_second"]["step"]
  grown = series.get("train/batch_size")
  return np.diff(steps, prepend=0) * (grown["value"] if grown else batch_size)


def seconds_between(series: Mapping, questions: np.ndarray) -> np.ndarray:
  """Returns how long the updates took that read these, evaluations left out."""
  return questions / series["train/samples_per_second"]["value"]


def questions_read(
  series: Mapping, batch_size: int, steps: np.ndarray
) -> np.ndarray:
  """Returns how many questions had been read after so many updates."""
  grown = series.get("train/batch_size")
  if not grown:
    return steps * batch_size
  lines = np.append(0, grown["step"])
  read = np.append(0, questions_between(series, batch_size).cumsum())
  beyond = np.maximum(steps - lines[-1], 0) * grown["value"][-1]
  return np.interp(steps, lines, read) + beyond
