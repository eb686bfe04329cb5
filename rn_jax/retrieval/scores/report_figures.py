"""Draws scores of rankings: bars with their intervals, and curves of recall."""

import math

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from rn_jax.retrieval.scores.scoring import METRICS

_INK, _SOFT, _FAINT = "#222222", "#757575", "#d9d9d9"
_KINDS = {"descriptor": "#0072B2", "oracle": "#56a0cc", "sanity": "#8c8c8c"}
_KEY = "blue: descriptors; light blue: the scenes themselves; grey: baselines"
_TITLES = {"rho": "Spearman's rho", "tau": "Kendall's tau-b"}
_TITLES["rho_same_count"] = "rho among images with\nas many objects"


def _name(row: dict) -> str:
  return row["label"] + (", unit" if row["vector"] == "unit length" else "")


def better_vectors(rows: list[dict], metric: str) -> list[dict]:
  """Keeps, of a descriptor as it is and at unit length, the better by mean.

  One without a mean is kept where the other has none either.
  """
  best = {}
  for row in rows:
    key = row["kind"], row["label"]
    if key not in best or _mean(row, metric) > _mean(best[key], metric):
      best[key] = row
  return list(best.values())


def _mean(row: dict, metric: str) -> float:
  mean = row["metrics"][metric]["mean"]
  return -math.inf if mean is None else mean


def draw_bars(table: dict) -> Figure:
  """One panel per metric; the better of a descriptor's two vectors."""
  metrics = [m for m in METRICS if m in table["rows"][0]["metrics"]]
  columns = 4
  lines = -(-len(metrics) // columns)
  names = len(better_vectors(table["rows"], "rho"))
  figure = Figure(
    figsize=(4.2 * columns, lines * (1.2 + 0.24 * names)), layout="constrained"
  )
  figure.suptitle(
    f"{table['ground_truth']}: {len(table['query_index'])} queries, "
    f"{table['num_scenes']} scenes, 95 % intervals; dashed: any order, on "
    f"average\n{_KEY}",
    x=0.01,
    ha="left",
    color=_INK,
  )
  for number, metric in enumerate(metrics, start=1):
    axes = figure.add_subplot(lines, columns, number)
    known = (
      r for r in table["rows"] if r["metrics"][metric]["mean"] is not None
    )
    rows = better_vectors([*known], metric)[::-1]
    summaries = [row["metrics"][metric] for row in rows]
    axes.barh(
      range(len(rows)),
      [s["mean"] for s in summaries],
      xerr=[s["interval"] or 0 for s in summaries],
      color=[_KINDS[row["kind"]] for row in rows],
      error_kw={"ecolor": _INK, "elinewidth": 1, "capsize": 2},
    )
    level = table["random_level"][metric]
    if level is not None:
      axes.axvline(level, color=_SOFT, linestyle=(0, (4, 3)), linewidth=1)
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows], fontsize=8)
    axes.set_title(
      _TITLES.get(metric, metric.replace("ndcg", "nDCG")),
      loc="left",
      color=_INK,
    )
    axes.set_ylim(-0.6, len(rows) - 0.4)
    _style(axes)
  return figure


def draw_recall(table: dict) -> Figure:
  """Recall over k: a panel per row, in front of all the others' curves.

  The better of a descriptor's two vectors by rho; k on a logarithmic axis.
  """
  rows = better_vectors(table["rows"], "rho")
  curves = [row["recall_curve"] for row in rows]
  columns = 4
  lines = -(-len(rows) // columns)
  figure = Figure(
    figsize=(3 * columns, 0.7 + 2.3 * lines), layout="constrained"
  )
  figure.suptitle(
    f"Recall at k, {table['ground_truth']}: {len(table['query_index'])} "
    f"queries, 95 % intervals; dashed: any order, on average\n{_KEY}",
    x=0.01,
    ha="left",
    color=_INK,
  )
  panels = figure.subplots(
    lines, columns, sharex=True, sharey=True, squeeze=False
  )
  for axes, row, curve in zip(panels.flat, rows, curves, strict=False):
    ks, color = curve["k"], _KINDS[row["kind"]]
    for other in curves:
      axes.plot(ks, other["mean"], color=_FAINT, linewidth=0.8)
    level = [k / (table["num_scenes"] - 1) for k in ks]
    axes.plot(ks, level, color=_SOFT, linestyle=(0, (4, 3)), linewidth=1)
    axes.plot(ks, curve["mean"], color=color, linewidth=2)
    if None not in curve["interval"]:
      mean, interval = np.array(curve["mean"]), np.array(curve["interval"])
      axes.fill_between(
        ks, mean - interval, mean + interval, color=color, alpha=0.3, lw=0
      )
    axes.set_title(_name(row), loc="left", color=_INK, fontsize=9)
    axes.set(xscale="log", ylim=(0, 1))
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axes.grid(axis="y", color=_FAINT, linewidth=0.7)
    _style(axes)
  for axes in panels.flat[len(rows) :]:
    axes.set_axis_off()
  # Where no panel is below, this one has the numbers.
  for axes in panels.flat[max(len(rows) - columns, 0) : len(rows)]:
    axes.tick_params(labelbottom=True)
    axes.set_xlabel("k")
  for axes in panels[:, 0]:
    axes.set_ylabel("recall at k")
  return figure


def _style(axes) -> None:
  axes.grid(axis="x", color=_FAINT, linewidth=0.7)
  axes.set_axisbelow(True)
  axes.spines[["top", "right"]].set_visible(False)
  axes.spines[["bottom", "left"]].set_color(_SOFT)
  axes.tick_params(color=_SOFT)
