"""Numbers of the error analysis, against ones computed by hand."""

import numpy as np
import pytest

from rn_jax.report.analysis import (
  Rate,
  calibration,
  confident_mistakes,
  rates_by_name,
  rates_by_value,
  worst,
)


def test_bounds_are_wilsons():
  # (0.8 + 1.96²/20 ± 1.96 √(0.8 · 0.2/10 + 1.96²/400)) / (1 + 1.96²/10)
  assert Rate("", 8, 10).bounds == pytest.approx((0.4902, 0.9433), abs=1e-4)
  low, high = Rate("", 10, 10).bounds
  assert high == pytest.approx(1)
  assert low == pytest.approx(1 / 1.38415, abs=1e-4)


def test_rates_by_value_leave_out_what_is_unknown():
  values = np.array([3, 10, -1, 3, 12])
  correct = np.array([True, False, True, False, True])
  assert rates_by_value(values, correct) == [
    Rate("3", 1, 2),
    Rate("10", 0, 1),
    Rate("12", 1, 1),
  ]
  assert rates_by_value(values, correct, width=5) == [
    Rate("0–4", 1, 2),
    Rate("10–14", 1, 2),
  ]


def test_rates_by_name():
  names = np.array(["b/1", "", "a/0", "b/1"])
  correct = np.array([True, True, False, False])
  assert rates_by_name(names, correct) == [Rate("a/0", 0, 1), Rate("b/1", 1, 2)]


def test_worst_is_what_is_certainly_low():
  few, many, good = Rate("few", 0, 1), Rate("many", 30, 100), Rate("good", 9, 9)
  # By accuracy alone the one question would come first.
  assert worst([good, few, many], 2) == [many, few]


def test_confident_mistakes_are_wrong_and_in_order():
  probability = np.array([0.9, 0.7, 1.0, 0.9, 0.9])
  loss = np.array([3.0, 9.0, 0.0, 1.0, 5.0])
  correct = np.array([False, False, True, False, False])

  def find(correct):
    return confident_mistakes(probability, loss, correct, 3).tolist()

  assert find(correct) == [4, 0, 3]
  assert find(np.ones(5, bool)) == []


def test_calibration_error():
  probability = np.array([0.2, 0.4, 0.9, 0.7], np.float32)
  correct = np.array([False, True, True, False])
  result = calibration(probability, correct, bins=2)
  np.testing.assert_allclose(result.confidence, [0.3, 0.8], rtol=1e-6)
  assert [(r.right, r.count) for r in result.rates] == [(1, 2), (1, 2)]
  # (2 |0.5 - 0.3| + 2 |0.5 - 0.8|) / 4
  assert result.error == pytest.approx(0.25)


def test_bins_have_their_upper_border():
  result = calibration(np.array([0.0, 0.5, 1.0]), np.ones(3, bool), bins=2)
  assert [r.count for r in result.rates] == [2, 1]
  assert [r.name for r in result.rates] == ["0–50 %", "50–100 %"]
