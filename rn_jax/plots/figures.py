"""The pictures of a run: each function draws one figure from arrays."""

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from rn_jax.clevr import ANSWER_CLASSES, answer_class

_INK, _SOFT, _FAINT = "#222222", "#757575", "#d9d9d9"
# Okabe and Ito's palette, for all kinds of colour vision.
_TRAIN, _VAL = "#0072B2", "#D55E00"
_CLASS_COLORS = dict(
  zip(
    ANSWER_CLASSES,
    ("#0072B2", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#D55E00"),
    strict=True,
  )
)

# A quantity over the run: step, epoch and value, each [n].
Series = dict[str, np.ndarray]


def draw_accuracy(
  series: dict[str, Series], question_only: float | None
) -> Figure:
  figure, axes = _axes("Validation accuracy by class of the answer")
  axes.set(ylabel="accuracy (%)", ylim=(0, 102))
  labels = []
  for name, color in _CLASS_COLORS.items():
    if (key := f"val/by_answer_class/{name}") in series:
      labels.append((name, color, _line(axes, series[key], color, scale=100)))
  last = _line(axes, series["val/accuracy"], _INK, scale=100, linewidth=2.6)
  labels.append(("all", _INK, last))
  if question_only is not None:
    level = 100 * question_only
    axes.axhline(
      level, color=_SOFT, linestyle=(0, (4, 3)), linewidth=1, zorder=1
    )
    labels.append(("question alone", _SOFT, level))
  _label_ends(axes, labels, "{:.1f} %")
  return figure


def draw_loss(series: dict[str, Series]) -> Figure:
  figure, axes = _axes("Loss")
  axes.set(ylabel="cross-entropy (nats per question)")
  train = series["train/loss"]
  if len(train["value"]) > 100:  # Single batches are noisy: show their trend.
    axes.plot(train["epoch"], train["value"], color=_TRAIN, alpha=0.25, lw=0.8)
    train = _smooth(train, half=len(train["value"]) // 100)
  labels = [("training", _TRAIN, _line(axes, train, _TRAIN))]
  if "val/loss" in series:
    labels.append(("validation", _VAL, _line(axes, series["val/loss"], _VAL)))
  axes.set_ylim(bottom=0)
  _label_ends(axes, labels, "{:.3f}")
  return figure


def draw_invalid_rate(series: dict[str, Series]) -> Figure:
  figure, axes = _axes("Answers outside the class that the question asks for")
  axes.set(ylabel="invalid answers (% of validation questions)")
  axes.set_yscale("symlog", linthresh=0.1)  # From most answers to none.
  axes.set_ylim(0, 100)
  axes.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
  last = _line(axes, series["val/invalid_rate"], _VAL, scale=100)
  _label_ends(axes, [("", _VAL, last)], "{:.2f} %")
  return figure


def draw_learning_rate(series: dict[str, Series]) -> Figure:
  figure, axes = _axes("Learning rate")
  axes.set(ylabel="learning rate")
  rate = series["train/learning_rate"]
  axes.plot(rate["epoch"], rate["value"], color=_TRAIN, linewidth=1.8)
  positive = rate["value"][rate["value"] > 0]
  if len(positive) and positive.max() > 20 * positive.min():
    axes.set_yscale("log")
  else:
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:.1e}"))
  return figure


def draw_confusion(evaluation: dict, split: str) -> Figure:
  """Rows are true answers, in per cent of their questions."""
  names = evaluation["confusion"]["answers"]
  counts = np.array(evaluation["confusion"]["counts"], np.float64)
  totals = counts.sum(axis=1, keepdims=True)
  share = 100 * counts / np.maximum(totals, 1)
  size = len(names)

  figure = Figure(figsize=(10.5, 9.6), layout="constrained")
  axes = figure.add_subplot()
  image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 100))
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
  classes = [answer_class(name) for name in names]
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
  axes.set_ylabel("true answer (number of questions)")
  axes.set_title(
    f"Answers to the {int(counts.sum()):,} questions of {split}, "
    f"{100 * evaluation['accuracy']:.1f} % correct",
    loc="left",
    pad=24,
    color=_INK,
  )
  bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.015)
  bar.set_ticks([0, 1, 5, 10, 25, 50, 75, 100])
  bar.set_label("% of the questions with the true answer")
  bar.outline.set_visible(False)
  return figure


def _axes(title: str) -> tuple[Figure, Axes]:
  figure = Figure(figsize=(8, 4.8), layout="constrained")
  axes = figure.add_subplot()
  axes.set_title(title, loc="left", color=_INK)
  axes.set_xlabel("epoch")
  axes.xaxis.set_major_locator(ticker.MaxNLocator(steps=[1, 2, 5, 10]))
  axes.grid(axis="y", color=_FAINT, linewidth=0.7)
  axes.set_axisbelow(True)
  axes.spines[["top", "right"]].set_visible(False)
  axes.spines[["bottom", "left"]].set_color(_SOFT)
  axes.tick_params(color=_SOFT)
  return figure, axes


def _line(
  axes: Axes, series: Series, color: str, scale: float = 1, linewidth=1.8
) -> float:
  """Draws a curve and returns where it ends."""
  value = scale * series["value"]
  marker = "o" if len(value) <= 30 else None
  axes.plot(
    series["epoch"],
    value,
    color=color,
    linewidth=linewidth,
    marker=marker,
    markersize=4,
    clip_on=False,  # The last point lies on the border.
  )
  return float(value[-1])


def _label_ends(
  axes: Axes, labels: list[tuple[str, str, float]], number: str
) -> None:
  """Writes names beside the ends of curves, apart from each other."""
  axes.set_xlim(right=axes.dataLim.xmax)
  low, high = axes.get_ylim()
  gap = 0.05 * (high - low)
  labels = sorted(labels, key=lambda label: label[2])
  heights = [min(max(value, low), high) for _, _, value in labels]
  for i in range(1, len(heights)):
    heights[i] = max(heights[i], heights[i - 1] + gap)
  # Pushed over the top: shift the crowd down again.
  for i in reversed(range(len(heights))):
    limit = heights[i + 1] - gap if i + 1 < len(heights) else high
    heights[i] = min(heights[i], limit)
  at_right_edge = axes.get_yaxis_transform()
  for (name, color, value), height in zip(labels, heights, strict=True):
    axes.plot(
      (1.008, 1.03),
      (value, height),
      transform=at_right_edge,
      color=color,
      linewidth=0.8,
      clip_on=False,
    )
    axes.text(
      1.037,
      height,
      f"{name} {number.format(value)}".strip(),
      transform=at_right_edge,
      va="center",
      color=color,
      fontsize=9.5,
    )


def _smooth(series: Series, half: int) -> Series:
  """Means over up to 2 * half + 1 neighbours, fewer and even at the ends."""
  sums = np.cumsum(np.concatenate([[0.0], series["value"]]))
  at = np.arange(len(series["value"]))
  reach = np.minimum(np.minimum(at, at[::-1]), half)
  mean = (sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1)
  return series | {"value": mean}
