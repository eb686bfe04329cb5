"""Curves of several trainings beside each other."""

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rn_jax.clevr import ANSWER_CLASSES
from rn_jax.plots.curves import Series

_INK, _SOFT, _FAINT = "#222222", "#757575", "#d9d9d9"
_PALETTE = "#0072B2", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#D55E00"
_STYLES = "-", "--", ":", "-."
_COLUMNS = 70  # of a name in the key


@dataclasses.dataclass(frozen=True)
class RowCurves:
  """One row of a comparison.

  Attributes:
    name: Its name.
    means: What its runs measured, averaged, and the `questions` read.
    ranges: Lowest and highest value of a run, by quantity, [2, n].
  """

  name: str
  means: dict[str, Series]
  ranges: dict[str, np.ndarray]


def draw_rows(rows: Sequence[RowCurves]) -> Figure:
  """Draws a panel of each class of answers with a curve of each row.

  A band reaches from the lowest to the highest run of a row.
  """
  panels = {"all questions": "val/accuracy"} | {
    name: f"val/by_answer_class/{name}" for name in ANSWER_CLASSES
  }
  shown = {
    title: key
    for title, key in panels.items()
    if any(key in row.means for row in rows)
  }
  lines = -(-len(shown) // 2)
  # In the place that is left over, if the names are few and short.
  fits = (
    len(shown) % 2 == 1
    and len(rows) <= 9
    and max(len(row.name) for row in rows) <= 36
  )
  labels = [textwrap.fill(row.name, _COLUMNS) for row in rows]
  keys = sum(label.count("\n") + 1 for label in labels)
  height = 0.4 + 1.75 * lines + 0.2 * keys * (not fits)
  figure = Figure(figsize=(5.8, height), layout="constrained")
  axes = figure.subplots(lines, 2, sharex=True, squeeze=False)
  for panel in axes.flat[len(shown) :]:
    panel.set_axis_off()
  for panel, (title, key) in zip(axes.flat, shown.items(), strict=False):
    panel.set_title(title, loc="left", color=_INK, fontsize=9.5)
    for number, row in enumerate(rows):
      if key not in row.means:
        continue
      x = row.means[key]["questions"] / 1e6
      style = _style(number)
      panel.plot(x, 100 * row.means[key]["value"], linewidth=1.6, **style)
      low, high = 100 * row.ranges[key]
      if (high > low).any():
        color = style["color"]
        panel.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    panel.grid(axis="y", color=_FAINT, linewidth=0.7)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["bottom", "left"]].set_color(_SOFT)
    panel.tick_params(color=_SOFT, labelsize=8, labelcolor=_INK)
    panel.xaxis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 5, 10]))
    panel.set_xlim(left=0)
  for panel in axes[:, 0]:
    panel.set_ylabel("right (%)", fontsize=8.5, color=_INK)
  # Where the column ends, which has one panel less than the other at times.
  for column in range(2):
    bottom = [p for p in axes[:, column] if p.axison][-1]
    bottom.set_xlabel("training questions (millions)", fontsize=8.5, color=_INK)
    bottom.tick_params(labelbottom=True)
  handles = [
    Line2D([], [], linewidth=1.8, label=label, **_style(number))
    for number, label in enumerate(labels)
  ]
  options = {"fontsize": 8, "frameon": False, "labelcolor": _INK}
  if fits:
    axes.flat[-1].legend(handles=handles, loc="upper left", **options)
  else:
    figure.legend(handles=handles, loc="outside lower center", **options)
  return figure


def _style(number: int) -> dict[str, Any]:
  return {
    "color": _PALETTE[number % len(_PALETTE)],
    "linestyle": _STYLES[number // len(_PALETTE) % len(_STYLES)],
  }
