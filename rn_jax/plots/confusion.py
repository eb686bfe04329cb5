"""The confusion matrix of an evaluation."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure

from rn_jax.clevr import answer_class

_INK, _SOFT = "#222222", "#757575"
# From nothing to blue, so that any paper may be behind it.
_BLUES = LinearSegmentedColormap.from_list(
  "blues", [(0.03, 0.30, 0.59, 0.0), (0.03, 0.30, 0.59, 1.0)]
)


def draw_confusion(evaluation: dict, split: str) -> Figure:
  """Rows are true answers, in per cent of their questions."""
  names = evaluation["confusion"]["answers"]
  counts = np.array(evaluation["confusion"]["counts"], np.float64)
  totals = counts.sum(axis=1, keepdims=True)
  share = 100 * counts / np.maximum(totals, 1)
  size = len(names)

  figure = Figure(figsize=(10.5, 9.6), layout="constrained")
  axes = figure.add_subplot()
  image = axes.imshow(share, cmap=_BLUES, norm=PowerNorm(0.5, 0, 100))
  for row, column in zip(*np.nonzero(share >= 0.5), strict=True):
    value = share[row, column]
    axes.text(
      column,
      row,
      f"{value:.0f}",
      ha="center",
      va="center",
      fontsize=7,
      color="white" if value > 40 else _INK,
    )
  for row in np.flatnonzero(totals == 0).tolist():
    axes.axhspan(row - 0.5, row + 0.5, facecolor="#eeeeee", zorder=1)
    axes.text(
      (size - 1) / 2,
      row,
      "no questions with this answer",
      ha="center",
      va="center",
      fontsize=7,
      color=_SOFT,
      bbox={"facecolor": "#eeeeee", "edgecolor": "none", "pad": 1},
      zorder=3,
    )
  # Those of earlier versions have CLEVR's answers alone.
  classes = evaluation["confusion"].get("classes") or [
    answer_class(name) for name in names
  ]
  for i in range(1, size):
    if classes[i] != classes[i - 1]:
      axes.axhline(i - 0.5, color=_SOFT, linewidth=0.9)
      axes.axvline(i - 0.5, color=_SOFT, linewidth=0.9)
  axes.set_xticks(range(size), names, rotation=90, fontsize=8)
  axes.set_yticks(
    range(size),
    [f"{n}  ({int(t):,})" for n, t in zip(names, totals[:, 0], strict=True)],
    fontsize=8,
  )
  axes.tick_params(length=0)
  for name in dict.fromkeys(classes):
    rows = [i for i, c in enumerate(classes) if c == name]
    middle = float(np.mean(rows))
    axes.text(middle, -0.8, name, ha="center", fontsize=9, color=_SOFT)
  axes.set_xlabel("predicted answer")
  runs, number = evaluation.get("num_runs", 1), f"{int(counts.sum()):,}"
  title, counted = f"Answers to the {number} questions of {split}", "questions"
  if runs > 1:
    title = f"{number} answers of {runs} runs on {split}"
    counted = "questions, of all runs"
  axes.set_ylabel(f"true answer (number of {counted})")
  axes.set_title(
    f"{title}, {100 * evaluation['accuracy']:.1f} % correct",
    loc="left",
    pad=24,
    color=_INK,
  )
  bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.015)
  bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])
  bar.set_label("% of the questions with the true answer")
  bar.outline.set_visible(False)
  return figure
