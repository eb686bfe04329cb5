"""Draws scores of rankings: bars with their intervals, and recall curves."""

from matplotlib.figure import Figure

from rn_jax.retrieval.scores.scoring import METRICS

_INK, _SOFT, _FAINT = "#222222", "#757575", "#d9d9d9"
# Okabe and Ito's palette, for all kinds of colour vision.
_COLORS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
_KINDS = {"descriptor": "#0072B2", "oracle": "#8fb8d3", "sanity": "#b0b0b0"}
_STYLES = "-", "--", ":", "-."
_TITLES = {"rho": "Spearman's rho", "tau": "Kendall's tau-b"}
_TITLES["rho_same_count"] = "rho among images with\nas many objects"


def _name(row: dict) -> str:
  return row["label"] + (", unit" if row["vector"] == "unit length" else "")


def better_vectors(rows: list[dict], metric: str) -> list[dict]:
  """Keeps, of a descriptor as it is and at unit length, the better by mean."""
  best = {}
  for row in rows:
    key = row["kind"], row["label"]
    mean = row["metrics"][metric]["mean"]
    if mean is None:
      continue
    if key not in best or mean > best[key]["metrics"][metric]["mean"]:
      best[key] = row
  return list(best.values())


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
    f"{table['num_scenes']} scenes, 95 % intervals",
    x=0.01,
    ha="left",
    color=_INK,
  )
  for number, metric in enumerate(metrics, start=1):
    axes = figure.add_subplot(lines, columns, number)
    rows = better_vectors(table["rows"], metric)[::-1]
    summaries = [row["metrics"][metric] for row in rows]
    axes.barh(
      range(len(rows)),
      [s["mean"] for s in summaries],
      xerr=[s["interval"] or 0 for s in summaries],
      color=[_KINDS[row["kind"]] for row in rows],
      error_kw={"ecolor": _INK, "elinewidth": 1, "capsize": 2},
    )
    level = table["random_level"][metric]
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
  """Recall over k, on a logarithmic axis; the better vector by rho."""
  figure = Figure(figsize=(8, 5), layout="constrained")
  axes = figure.add_subplot()
  axes.set_xscale("log")
  axes.set_title(
    f"Recall at k, {table['ground_truth']}", loc="left", color=_INK
  )
  axes.set(xlabel="k", ylabel="recall at k", ylim=(0, 1))
  rows = better_vectors(table["rows"], "rho")
  for number, row in enumerate(rows):
    curve = row["recall_curve"]
    color = _COLORS[number % len(_COLORS)]
    style = _STYLES[number // len(_COLORS) % len(_STYLES)]
    if row["kind"] == "sanity":
      color, style = _SOFT, _STYLES[1 + number % 3]
    axes.plot(curve["k"], curve["mean"], style, color=color, label=_name(row))
    if None not in curve["interval"]:
      low, high = (
        [
          m + s * i
          for m, i in zip(curve["mean"], curve["interval"], strict=True)
        ]
        for s in (-1, 1)
      )
      axes.fill_between(
        curve["k"], low, high, color=color, alpha=0.15, linewidth=0
      )
  ks = rows[0]["recall_curve"]["k"]
  axes.plot(
    ks,
    [k / (table["num_scenes"] - 1) for k in ks],
    color=_FAINT,
    label="any order, on average",
  )
  axes.legend(fontsize=8, frameon=False, loc="upper left")
  _style(axes)
  return figure


def _style(axes) -> None:
  axes.grid(axis="x", color=_FAINT, linewidth=0.7)
  axes.set_axisbelow(True)
  axes.spines[["top", "right"]].set_visible(False)
  axes.spines[["bottom", "left"]].set_color(_SOFT)
  axes.tick_params(color=_SOFT)
