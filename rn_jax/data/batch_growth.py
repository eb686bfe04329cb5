"""Batches that double: how many questions how many updates have read.

Smith et al. 2018 let the batch grow where others let the learning rate fall.
All is counted in batches of the first size, which is what epochs and schedules
are about.
"""

from typing import Any

import numpy as np


class BatchGrowth:
  """A batch's size, by the first one's, as a pure function of the update.

  Attributes:
    ratios: Sizes by the first one, one after another; [1] if it stays.
    starts: The update, counted from 0, at which each begins.
    read: What was read before it, in batches of the first size.
  """

  def __init__(
    self,
    batch_size: int,
    steps_per_epoch: float,
    double_every: float = 0.0,
    largest: int = 0,
  ):
    """Plans the sizes.

    Args:
      batch_size: The first.
      steps_per_epoch: Batches of the first size that are an epoch.
      double_every: Epochs between doublings; an update is never cut in two, so
        a size may begin within it. 0: never.
      largest: The last size.

    Raises:
      ValueError: `double_every` is negative, or the last size is no multiple
        of the first.
    """
    self.ratios, starts, read = [1], [0], [0]
    if double_every < 0 or (double_every and largest % batch_size):
      raise ValueError(
        f"config.train.double_batch_every={double_every:g} leads from batches "
        f"of config.train.batch_size={batch_size} to those of "
        f"config.train.max_batch_size={largest}: the first must not be "
        "negative, and the last be a multiple of the second"
      )
    last = largest // batch_size if double_every else 1
    while self.ratios[-1] < last:
      ratio, number = self.ratios[-1], len(self.ratios)
      left = number * double_every * steps_per_epoch - read[-1]
      updates = max(0, int(np.ceil(left / ratio - 1e-9)))
      starts.append(starts[-1] + updates)
      read.append(read[-1] + updates * ratio)
      self.ratios.append(min(2 * ratio, last))
    self.starts, self.read = np.array(starts), np.array(read)

  def units(self, step: Any, xp: Any = np) -> Any:
    """Returns what so many updates read, in batches of the first size.

    Args:
      step: Updates, an int or an array.
      xp: numpy, or jax.numpy under a trace.
    """
    index = xp.searchsorted(xp.asarray(self.starts), step, side="right") - 1
    starts, read, ratios = map(
      xp.asarray, (self.starts, self.read, self.ratios)
    )
    return read[index] + (step - starts[index]) * ratios[index]

  def ratio(self, step: int) -> int:
    """Returns the size of update number `step`, from 0, by the first one's."""
    index = np.searchsorted(self.starts, step, side="right") - 1
    return self.ratios[index]

  def steps(self, units: float) -> int:
    """Returns the number of updates that come nearest to reading so much."""
    index = np.searchsorted(self.read, units, side="right") - 1
    left = (units - self.read[index]) / self.ratios[index]
    return int(self.starts[index]) + round(left)
