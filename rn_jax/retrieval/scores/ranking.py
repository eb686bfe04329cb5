"""How well one list of distances ranks like another, for many queries at once.

Every function takes rows of distances, [Q, N]: row q holds the distances of
query q to the N images of the database without q itself. `truth` is what the
other distances should rank like. The smallest distance comes first; where a
ranking is needed, equal distances keep the order of the database. Undefined
values (a row of equal distances has no correlation) are NaN.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Ranking(NamedTuple):
  """Rankings of N images for Q queries, [Q, N] each.

  Attributes:
    places: int64, from 0, each once.
    average: float64, ranks from 1; equal distances share their mean rank.
    levels: From 0, equal distances on the same one; of the smallest type of
      integers that will do, which NumPy sorts fastest.
  """

  places: np.ndarray
  average: np.ndarray
  levels: np.ndarray


def rank(distances: np.ndarray) -> Ranking:
  """Ranks each row, by a single sort of its distances."""
  count = distances.shape[1]
  at = np.arange(count)
  order = np.argsort(distances, axis=1, kind="stable")
  ordered = np.take_along_axis(distances, order, axis=1)
  differs = ordered[:, 1:] != ordered[:, :-1]
  edge = np.ones((len(distances), 1), bool)
  starts = np.concatenate([edge, differs], axis=1)  # of equal distances
  ends = np.concatenate([differs, edge], axis=1)
  first = np.maximum.accumulate(np.where(starts, at, 0), axis=1)
  last = np.where(ends, at, count)[:, ::-1]
  last = np.minimum.accumulate(last, axis=1)[:, ::-1]
  small = np.uint16 if count <= 1 << 16 else np.int64
  levels = starts.cumsum(axis=1) - 1

  def unordered(values: np.ndarray, dtype) -> np.ndarray:
    result = np.empty(order.shape, dtype)
    np.put_along_axis(result, order, values, axis=1)
    return result

  return Ranking(
    unordered(at[None], np.int64),
    unordered((first + last) / 2 + 1, np.float64),
    unordered(levels, small),
  )


def spearman(ranks: np.ndarray, truth_ranks: np.ndarray) -> np.ndarray:
  """Spearman's rho of each row, given `Ranking.average`: float64 [Q]."""
  a, b = (r - r.mean(axis=1, keepdims=True) for r in (ranks, truth_ranks))
  scale = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
  products = (a * b).sum(axis=1)
  return np.divide(
    products, scale, out=np.full(len(a), np.nan), where=scale > 0
  )


def spearman_within(
  distances: np.ndarray, truth: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
  """Spearman's rho of each row over the images chosen for it.

  Args:
    distances: [Q, N]; their levels in a ranking do as well.
    truth: Likewise.
    chosen: bool [Q, N].

  Returns:
    float64 [Q]; NaN where fewer than three images are chosen.
  """
  result = np.full(len(distances), np.nan)
  for q, which in enumerate(chosen):
    if np.count_nonzero(which) > 2:
      ranks = (rank(x[q, which][None]).average for x in (distances, truth))
      result[q] = spearman(*ranks)[0]
  return result


def kendall_tau(distances: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Kendall's tau-b of each row, of distances or levels.

  Returns:
    float64 [Q]; NaN where all are equal, or fewer than three.
  """
  if distances.shape[1] < 3:  # SciPy would divide by zero
    return np.full(len(distances), np.nan)
  return np.array(
    [
      # The method concerns the p-value; this one is quick.
      stats.kendalltau(x, y, method="asymptotic")[0]
      for x, y in zip(distances, truth, strict=True)
    ]
  )


def gains(truth: np.ndarray) -> np.ndarray:
  """Gains of nDCG as published: 2^(1 - d / the row's largest d) - 1."""
  truth = truth.astype(np.float64)
  largest = truth.max(axis=1, keepdims=True)
  scaled = np.divide(
    truth, largest, out=np.zeros(truth.shape), where=largest > 0
  )
  return 2 ** (1 - scaled) - 1


def ndcg(places: np.ndarray, gains: np.ndarray, k: int) -> np.ndarray:
  """Normalised discounted cumulative gain of the first k images.

  Args:
    places: `Ranking.places`, [Q, N].
    gains: See `gains`, [Q, N].
    k: At most N; the first place counts in full, place p (from 0) by
      1 / log2(p + 2).

  Returns:
    float64 [Q], NaN where all gains are 0.
  """
  weights = np.zeros(places.shape[1])
  weights[:k] = 1 / np.log2(np.arange(k) + 2)
  found = (gains * weights[places]).sum(axis=1)
  return _of_ideal(found, gains, k)


def random_ndcg(gains: np.ndarray, k: int) -> np.ndarray:
  """What `ndcg` is on average over all rankings: float64 [Q]."""
  expected = gains.mean(axis=1) * (1 / np.log2(np.arange(k) + 2)).sum()
  return _of_ideal(expected, gains, k)


def _of_ideal(found: np.ndarray, gains: np.ndarray, k: int) -> np.ndarray:
  last = gains.shape[1] - k
  best = np.sort(np.partition(gains, last, axis=1)[:, last:], axis=1)[:, ::-1]
  ideal = (best / np.log2(np.arange(k) + 2)).sum(axis=1)
  return np.divide(
    found, ideal, out=np.full(len(found), np.nan), where=ideal > 0
  )


def recall(
  places: np.ndarray, truth_places: np.ndarray, ks: np.ndarray
) -> np.ndarray:
  """Shares of the first k images that are among the first k of the truth.

  Args:
    places: [Q, N].
    truth_places: [Q, N].
    ks: [K], each from 1 to N.

  Returns:
    float64 [Q, K].
  """
  # An image counts from the k on that reaches both of its places.
  needed = np.maximum(places, truth_places)
  rows, count = needed.shape
  flat = (needed + count * np.arange(rows)[:, None]).ravel()
  reached = np.bincount(flat, minlength=rows * count).reshape(rows, count)
  return reached.cumsum(axis=1)[:, ks - 1] / ks


def recall_grid(count: int) -> np.ndarray:
  """Returns the k of a recall curve: whole parts of powers of 1.3, to count."""
  powers = 1.3 ** np.arange(np.log(count) / np.log(1.3) + 1)
  grid = np.unique(np.floor(powers).astype(np.int64))
  return grid[grid <= count]


def mean_and_interval(values: np.ndarray) -> tuple[float, float, int]:
  """Sums up one value per query.

  Args:
    values: [Q]; NaN are left out.

  Returns:
    Mean; half the width of its 95 % interval by Student's t (NaN for fewer
    than two values); and the number of values.
  """
  values = values[np.isfinite(values)]
  count = len(values)
  if count == 0:
    return np.nan, np.nan, 0
  if count == 1:
    return float(values[0]), np.nan, 1
  error = values.std(ddof=1) / np.sqrt(count)
  return (
    float(values.mean()),
    float(stats.t.ppf(0.975, count - 1) * error),
    count,
  )
