"""The curves of a run: each function draws one figure from arrays."""

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rn_jax.clevr import ANSWER_CLASSES

_INK, _SOFT, _FAINT = "#222222", "#757575", "#d9d9d9"
# Okabe and Ito's palette, for all kinds of colour vision.
_TRAIN, _VAL = "#0072B2", "#D55E00"
_PALETTE = "#0072B2", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#D55E00"
_CLASS_COLORS = dict(zip(ANSWER_CLASSES, _PALETTE, strict=True))
_TEMPLATES = "val/by_template/"

# A quantity over the run: step, epoch and value, each [n].
Series = dict[str, np.ndarray]


def draw_accuracy(
  series: dict[str, Series],
  question_only: float | None,
  by_questions: bool = False,
) -> Figure:
  """Accuracy over epochs, or over the `questions` of the series."""
  figure, axes = _axes("Validation accuracy by class of the answer")
  if by_questions:
    axes.set_xlabel("training questions read (millions)")
    series = {
      key: s | {"epoch": s["questions"] / 1e6} for key, s in series.items()
    }
  labels = []
  for name, color in _CLASS_COLORS.items():
    if (key := f"val/by_answer_class/{name}") in series:
      labels.append((name, color, _line(axes, series[key], color, scale=100)))
  labels += _overall(axes, series, question_only)
  _label_ends(axes, labels, "{:.1f} %")
  return figure


def has_templates(series: dict[str, Series]) -> bool:
  """Whether the run knows its accuracy by file of templates."""
  return any(key.startswith(_TEMPLATES) for key in series)


def draw_by_template(series: dict[str, Series]) -> Figure:
  """Accuracy by the file of templates that the questions were made from."""
  figure, axes = _axes("Validation accuracy by file of question templates")
  labels = []
  keys = sorted(key for key in series if key.startswith(_TEMPLATES))
  for number, key in enumerate(keys):
    color = _PALETTE[number % len(_PALETTE)]
    style = ("-", "--", ":")[number // len(_PALETTE) % 3]
    last = _line(axes, series[key], color, scale=100, linestyle=style)
    name = key.removeprefix(_TEMPLATES).replace("_", " ")
    labels.append((name, color, last))
  labels += _overall(axes, series, None)
  _label_ends(axes, labels, "{:.1f} %")
  return figure


def _overall(
  axes: Axes, series: dict[str, Series], question_only: float | None
) -> list[tuple[str, str, float]]:
  """Draws what every picture of accuracies has; returns the labels."""
  axes.set(ylabel="accuracy (%)", ylim=(0, 102))
  labels = []
  if "val/accuracy" in series:
    last = _line(axes, series["val/accuracy"], _INK, scale=100, linewidth=2.6)
    labels.append(("all", _INK, last))
  if question_only is not None:
    level = 100 * question_only
    axes.axhline(
      level, color=_SOFT, linestyle=(0, (4, 3)), linewidth=1, zorder=1
    )
    labels.append(("question alone", _SOFT, level))
  return labels


def draw_loss(series: dict[str, Series]) -> Figure:
  """The y axis leaves out what only a fresh network has, and says so."""
  figure, axes = _axes("Loss")
  axes.set(ylabel="cross-entropy (nats per question)")
  train = series["train/loss"]
  if len(train["value"]) > 100:  # Single batches are noisy: show their trend.
    axes.plot(train["epoch"], train["value"], color=_TRAIN, alpha=0.25, lw=0.8)
    train = _smooth(train, half=len(train["value"]) // 100)
  curves = [("training", _TRAIN, train)]
  if "val/loss" in series:
    curves.append(("validation", _VAL, series["val/loss"]))
  labels = [(name, color, _line(axes, c, color)) for name, color, c in curves]
  # Cut above, but whole on the other borders.
  seen = Rectangle((-0.05, -0.05), 1.1, 1.05, transform=axes.transAxes)
  for line in axes.lines:
    line.set_clip_on(True)
    line.set_clip_path(seen)
  _fit_loss(axes, [curve for _, _, curve in curves])
  _label_ends(axes, labels, "{:.3f}")
  return figure


def _fit_loss(axes: Axes, curves: list[Series]) -> None:
  """Fits the y axis to the losses after the start, which may be far above."""
  after = _learning_begins(curves)
  shown = [c["value"][c["epoch"] >= after] for c in curves]
  low = min(float(v.min()) for v in shown if len(v))
  high = max(float(v.max()) for v in shown if len(v))
  first = max(float(c["value"].max()) for c in curves)
  if first <= 1.5 * high:
    high = first  # Nothing is flattened by showing all of it.
  if low > 0 and high > 10 * low:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.set_ylim(low / 1.2, high * 1.2)
  else:
    margin = 0.06 * (high - low) or 0.1 * high or 1
    axes.set_ylim(max(low - margin, 0), high + margin)
  if first > high:
    axes.text(
      0.98,
      0.98,
      f"not shown: the start, up to {first:.3g}",
      transform=axes.transAxes,
      ha="right",
      va="top",
      color=_SOFT,
      fontsize=9.5,
    )


def _learning_begins(curves: list[Series]) -> float:
  """The epoch of the first evaluation of a trained network, if that is early.

  Otherwise a tenth of the run.
  """
  last = max(float(c["epoch"][-1]) for c in curves)
  begin = 0.1 * last
  if len(curves) > 1:
    evaluated = curves[1]["epoch"]
    begin = min([begin, *evaluated[evaluated > 0].tolist()])
  return begin


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
  axes: Axes,
  series: Series,
  color: str,
  scale: float = 1,
  linewidth: float = 1.8,
  linestyle: str = "-",
) -> float:
  """Draws a curve and returns where it ends."""
  value = scale * series["value"]
  marker = "o" if len(value) <= 30 else None
  axes.plot(
    series["epoch"],
    value,
    color=color,
    linewidth=linewidth,
    linestyle=linestyle,
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
  # Apart by what is seen, whatever the scale of the axis.
  scale = axes.yaxis.get_transform()
  low, high = scale.transform(axes.get_ylim())
  gap = 0.05 * (high - low)
  labels = sorted(labels, key=lambda label: label[2])
  values = scale.transform([value for _, _, value in labels])
  heights = np.clip(values, low, high).tolist()
  for i in range(1, len(heights)):
    heights[i] = max(heights[i], heights[i - 1] + gap)
  # Pushed over the top: shift the crowd down again.
  for i in reversed(range(len(heights))):
    limit = heights[i + 1] - gap if i + 1 < len(heights) else high
    heights[i] = min(heights[i], limit)
  heights = scale.inverted().transform(heights)
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
  """Means over up to 2 * half + 1 neighbours.

  Fewer and even at the start, where the loss falls steeply; at the end all that
  came before, or else the curve would end with the noise of one batch.
  """
  sums = np.cumsum(np.concatenate([[0.0], series["value"]]))
  at = np.arange(len(series["value"]))
  before = np.minimum(at, half)
  after = np.minimum(at[::-1], before)
  mean = (sums[at + after + 1] - sums[at - before]) / (before + after + 1)
  return series | {"value": mean}
