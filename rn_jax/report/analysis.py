"""Where a network errs and how sure it is: numbers from its answers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# The 97.5 % point of the normal distribution.
_Z = 1.959964


class Rate(NamedTuple):
  """How often the answers to some questions are right.

  Attributes:
    name: What the questions have in common.
    right: Right answers.
    count: Questions.
  """

  name: str
  right: int
  count: int

  @property
  def accuracy(self) -> float:
    return self.right / self.count

  @property
  def bounds(self) -> tuple[float, float]:
    """The 95 % interval of the accuracy by Wilson's score.

    It stays within 0 and 1 and has a width even where all answers are right.
    """
    n, p = self.count, self.accuracy
    scale = 1 + _Z**2 / n
    middle = (p + _Z**2 / (2 * n)) / scale
    half = _Z * np.sqrt(p * (1 - p) / n + (_Z / (2 * n)) ** 2) / scale
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)


def rates_by_value(
  values: np.ndarray, correct: np.ndarray, width: int = 1
) -> list[Rate]:
  """Rates of questions by a number they have, lowest first.

  Args:
    values: [Q] int; negative: unknown, left out.
    correct: [Q] bool.
    width: Numbers counted together; "10-14" for a width of 5.
  """
  known = values >= 0
  binned = values[known] // width
  rates = []
  for number in np.unique(binned):
    hits = correct[known][binned == number]
    low, high = int(number) * width, (int(number) + 1) * width - 1
    name = str(low) if width == 1 else f"{low}–{high}"
    rates.append(Rate(name, int(hits.sum()), len(hits)))
  return rates


def rates_by_name(
  names: Sequence[str] | np.ndarray, correct: np.ndarray
) -> list[Rate]:
  """Rates of questions by name, in the order of the alphabet; "" left out."""
  known, index = np.unique(np.asarray(names), return_inverse=True)
  right = np.bincount(index, weights=correct, minlength=len(known))
  counts = np.bincount(index, minlength=len(known))
  return [
    Rate(str(name), int(r), int(n))
    for name, r, n in zip(known, right, counts, strict=True)
    if name
  ]


def worst(rates: Sequence[Rate], number: int) -> list[Rate]:
  """Returns the rates that are certainly low, lowest first.

  By the upper end of their intervals: few questions do not make a family bad.
  """
  return sorted(rates, key=lambda rate: rate.bounds[1])[:number]


def confident_mistakes(
  probability: np.ndarray, loss: np.ndarray, correct: np.ndarray, number: int
) -> np.ndarray:
  """Returns the wrong answers that were held most probable.

  Args:
    probability: [Q] of the answers given.
    loss: [Q] nats of the right ones, by which the many probabilities that
      rounding makes 1 are ordered.
    correct: [Q] bool.
    number: At most so many.

  Returns:
    Rows of [Q].
  """
  wrong = np.flatnonzero(~correct)
  order = np.lexsort((-loss[wrong], -probability[wrong]))
  return wrong[order[:number]]


class Calibration(NamedTuple):
  """Probabilities against how often they come true, in bins of equal width.

  Attributes:
    confidence: [B] mean probability of the answers in each bin that has any.
    rates: Of these bins.
    error: Expected calibration error: the mean distance of probability and
      accuracy, weighted by answers (Guo et al. 2017, On Calibration of Modern
      Neural Networks).
  """

  confidence: np.ndarray
  rates: list[Rate]
  error: float


def calibration(
  probability: np.ndarray, correct: np.ndarray, bins: int = 15
) -> Calibration:
  """Compares the probabilities [Q] of answers with their being right [Q]."""
  # A bin has its upper border, as in the paper; the first has 0, too.
  index = np.clip(np.ceil(probability * bins).astype(int) - 1, 0, bins - 1)
  confidence, rates = [], []
  for number in np.unique(index):
    inside = index == number
    # In double precision: many answers have nearly 1.
    confidence.append(probability[inside].mean(dtype=np.float64))
    name = f"{100 * number / bins:.0f}–{100 * (number + 1) / bins:.0f} %"
    right = int(correct[inside].sum())
    rates.append(Rate(name, right, int(inside.sum())))
  gaps = [
    rate.count * abs(sure - rate.accuracy)
    for sure, rate in zip(confidence, rates, strict=True)
  ]
  return Calibration(
    np.array(confidence), rates, float(sum(gaps) / len(correct))
  )
