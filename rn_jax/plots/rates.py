"""How often answers are right, with what is not known of it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rn_jax.report.analysis import Calibration, Rate

_INK, _SOFT, _FAINT = "#222222", "#757575", "#d9d9d9"
_BLUE, _ORANGE = "#0072B2", "#D55E00"


def draw_rates(rates: Sequence[Rate]) -> Figure:
  """A point for each rate with its 95 % interval; the first of them on top."""
  figure = Figure((4.6, 0.85 + 0.24 * len(rates)), layout="constrained")
  axes = figure.add_subplot()
  places = np.arange(len(rates))
  for place, rate in zip(places, rates, strict=True):
    low, high = rate.bounds
    bounds = [100 * low, 100 * high]
    axes.plot(bounds, [place, place], color=_BLUE, linewidth=1.4)
    axes.plot(100 * rate.accuracy, place, "o", color=_BLUE, markersize=5)
  axes.set_yticks(places, [rate.name for rate in rates], color=_INK)
  axes.set_ylim(len(rates) - 0.5, -0.5)
  axes.set_xlabel("right (%), with its 95 % interval", color=_INK)
  lowest = min(rate.bounds[0] for rate in rates)
  axes.set_xlim(np.floor(20 * lowest) * 5 - 1, 101)
  counts = axes.secondary_yaxis("right")
  counts.set_yticks(places, [f"{rate.count:,}" for rate in rates], color=_SOFT)
  counts.set_ylabel("questions", color=_SOFT)
  counts.tick_params(length=0, labelsize=8)
  counts.spines[:].set_visible(False)
  axes.grid(axis="x", color=_FAINT, linewidth=0.7)
  _soften(axes)
  return figure


def draw_calibration(result: Calibration) -> Figure:
  """Accuracy over probability, and below how many answers had which."""
  figure = Figure((4.6, 4.4), layout="constrained")
  above, below = figure.subplots(
    2, 1, sharex=True, height_ratios=[3, 1], squeeze=True
  )
  above.plot([0, 100], [0, 100], color=_SOFT, linestyle="--", linewidth=1)
  x = 100 * result.confidence
  bounds = 100 * np.array([rate.bounds for rate in result.rates])
  above.vlines(x, *bounds.T, color=_BLUE, linewidth=1.4)
  y = [100 * rate.accuracy for rate in result.rates]
  above.plot(x, y, "o-", color=_BLUE, markersize=5, linewidth=1)
  above.set(ylim=(-2, 102), xlim=(-2, 102))
  above.set_ylabel("right (%)", color=_INK)
  above.text(4, 92, "too cautious", color=_SOFT, fontsize=8.5)
  above.text(96, 4, "too sure", color=_SOFT, fontsize=8.5, ha="right")
  counts = [rate.count for rate in result.rates]
  below.bar(x, counts, width=4, color=_ORANGE)
  below.set_yscale("log")
  below.set_ylim(bottom=0.7)  # so that a single answer is seen
  below.set_ylabel("answers", color=_INK)
  below.set_xlabel("probability of the answer (%)", color=_INK)
  for axes in (above, below):
    axes.grid(axis="y", color=_FAINT, linewidth=0.7)
    _soften(axes)
  return figure


def _soften(axes) -> None:
  axes.set_axisbelow(True)
  axes.spines[["top", "right"]].set_visible(False)
  axes.spines[["bottom", "left"]].set_color(_SOFT)
  axes.tick_params(color=_SOFT, labelsize=8.5)
