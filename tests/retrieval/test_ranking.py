"""Ranking metrics against SciPy, scikit-learn, loops and counting by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import ndcg_score

from rn_jax.retrieval.scores import ranking


@pytest.fixture
def rows():
  """Distances without ties, and truths with many, [5, 200] each."""
  rng = np.random.default_rng(0)
  distances = rng.random((5, 200))
  truth = np.round(8 * (distances + rng.random((5, 200)))) / 4
  return distances, truth.astype(np.float32)


def test_spearman_and_kendall_are_scipys_row_by_row(rows):
  distances, truth = rows
  rho = ranking.spearman(*(ranking.rank(x).average for x in rows))
  tau = ranking.kendall_tau(distances, truth)
  for q in range(5):
    assert rho[q] == pytest.approx(
      stats.spearmanr(distances[q], truth[q]).statistic
    )
    assert tau[q] == pytest.approx(
      stats.kendalltau(distances[q], truth[q]).statistic
    )
  assert (rho > 0.4).all()


def test_ranks_are_those_of_scipy_for_all_kinds_of_ties(rows):
  for x in (*rows, np.zeros((1, 3)), np.array([[2, 2, 1, 2, 0, 0]])):
    found = ranking.rank(x)
    assert np.array_equal(found.average, stats.rankdata(x, axis=1))
    dense = stats.rankdata(x, "dense", axis=1) - 1
    assert np.array_equal(found.levels, dense)
    ordinal = stats.rankdata(x, "ordinal", axis=1) - 1
    assert np.array_equal(found.places, ordinal)


def test_kendall_counts_pairs():
  # Of 6 pairs 3 agree, 1 disagrees, 1 is tied in either: 2 / sqrt(5 * 5).
  x, y = np.array([[1, 2, 3, 3]]), np.array([[1, 3, 2, 1]])
  agree = disagree = 0
  for i in range(4):
    for j in range(i):
      sign = np.sign(x[0, i] - x[0, j]) * np.sign(y[0, i] - y[0, j])
      agree, disagree = agree + (sign > 0), disagree + (sign < 0)
  expected = (agree - disagree) / 5
  assert ranking.kendall_tau(x, y)[0] == pytest.approx(expected)


def test_spearman_within_sees_the_chosen_images_only(rows):
  distances, truth = rows
  chosen = np.arange(200) % 3 == np.arange(5)[:, None]
  found = ranking.spearman_within(distances, truth, chosen)
  for q in range(3):
    expected = stats.spearmanr(distances[q, q::3], truth[q, q::3]).statistic
    assert found[q] == pytest.approx(expected)
  assert np.isnan(found[3:]).all()


@pytest.mark.parametrize("k", [1, 5, 20, 200])
def test_ndcg_is_that_of_scikit_learn_with_the_published_gain(rows, k):
  distances, truth = rows
  gains = ranking.gains(truth)
  expected = [
    ndcg_score(
      [2 ** (1 - t / t.max()) - 1], [1 - d / d.max()], k=k, ignore_ties=True
    )
    for d, t in zip(distances, truth.astype(np.float64), strict=True)
  ]
  found = ranking.ndcg(ranking.rank(distances).places, gains, k)
  assert found == pytest.approx(expected, abs=1e-12)


def test_ndcg_by_hand():
  truth = np.array([[0.0, 1.0, 2.0]])
  gains = ranking.gains(truth)
  assert gains == pytest.approx(np.array([[1, 2**0.5 - 1, 0]]))
  places = np.array([[2, 0, 1]])  # the second image first, then the third
  expected = (2**0.5 - 1) / (1 + (2**0.5 - 1) / np.log2(3))
  assert ranking.ndcg(places, gains, 2)[0] == pytest.approx(expected)


def test_random_ndcg_is_the_mean_over_random_rankings(rows):
  gains = ranking.gains(rows[1])
  rng = np.random.default_rng(1)
  trials = [
    ranking.ndcg(ranking.rank(rng.random(gains.shape)).places, gains, 5)
    for _ in range(2000)
  ]
  expected = ranking.random_ndcg(gains, 5)
  assert np.mean(trials, axis=0) == pytest.approx(expected, abs=0.01)


def test_recall_counts_common_images(rows):
  places, truth_places = (ranking.rank(x).places for x in rows)
  ks = ranking.recall_grid(200)
  found = ranking.recall(places, truth_places, ks)
  for q in range(5):
    first, true = (np.argsort(x[q], kind="stable") for x in rows)
    for k, value in zip(ks, found[q], strict=True):
      assert value == len(set(first[:k]) & set(true[:k])) / k


def test_recall_grid_is_that_of_the_published_curve():
  expected = {int(1.3**j) for j in range(1, 40) if int(1.3**j) <= 1000}
  assert ranking.recall_grid(1000).tolist() == sorted(expected)
  assert ranking.recall_grid(1).tolist() == [1]


def test_a_perfect_ranking_reaches_one(rows):
  truth = rows[1]
  places, gains = ranking.rank(truth).places, ranking.gains(truth)
  ranks = ranking.rank(truth).average
  assert ranking.spearman(ranks, ranks) == pytest.approx(1)
  assert ranking.kendall_tau(truth, truth) == pytest.approx(1)
  assert ranking.ndcg(places, gains, 5) == pytest.approx(1)
  assert (ranking.recall(places, places, np.array([1, 50])) == 1).all()
  assert ranking.spearman(-ranks, ranks) == pytest.approx(-1)


def test_equal_distances_have_no_correlation_and_keep_the_order():
  same, truth = np.ones((1, 4)), np.array([[3.0, 1.0, 2.0, 0.0]])
  ranks = ranking.rank(same).average, ranking.rank(truth).average
  assert np.isnan(ranking.spearman(*ranks)).all()
  assert np.isnan(ranking.kendall_tau(same, truth)).all()
  assert ranking.rank(same).places.tolist() == [[0, 1, 2, 3]]
  assert ranking.gains(np.zeros((1, 4))).tolist() == [[1, 1, 1, 1]]


def test_the_interval_is_students():
  values = np.array([1.0, 2.0, 3.0, 4.0, np.nan])
  mean, interval, count = ranking.mean_and_interval(values)
  assert (mean, count) == (2.5, 4)
  # t(.975, 3) = 3.18245, standard deviation 1.29099
  assert interval == pytest.approx(3.18245 * 1.29099 / 2, rel=1e-5)
  assert ranking.mean_and_interval(values[4:])[2] == 0
  assert np.isnan(ranking.mean_and_interval(values[:1])[1])
