"""Draws bytes, speed and recall of indices over the number of images."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from rn_jax.host.atomic import replacing

_INK = "#767676"  # shows on light pages and on dark ones
_PANELS = {
  "bytes": "bytes an image",
  "cpu_ms": "ms of a processor, a query",
  "recall": "recall@10",
}


def draw(path: str, rows: Sequence[dict]) -> None:
  """Draws rows of search_scale.py; kinds of index differ in colour.

  A kind that is searched in two ways has a full line and a dashed one.
  """
  figure = Figure(figsize=(9, 3.2), layout="constrained")
  figure.patch.set_visible(False)
  panels = figure.subplots(1, len(_PANELS))
  lines = {}
  for row in rows:
    kind = "".join(c for c in row["index"] if not c.isdigit())
    lines.setdefault((kind, row["search"]), []).append(row)
  kinds = list(dict.fromkeys(kind for kind, _ in lines))
  seen = set()
  for (kind, search), points in lines.items():
    for axes, column in zip(panels, _PANELS, strict=True):
      axes.plot(
        [row["images"] for row in points],
        [row[column] for row in points],
        marker="o",
        markersize=4,
        color=f"C{kinds.index(kind)}",
        linestyle="--" if kind in seen else "-",
        label=f"{kind} {search}".strip(),
      )
    seen.add(kind)
  for axes, title in zip(panels, _PANELS.values(), strict=True):
    axes.patch.set_visible(False)
    axes.set_xscale("log")
    axes.set_title(title, fontsize=9, color=_INK)
    axes.set_xlabel("images", color=_INK)
    axes.tick_params(colors=_INK)
    axes.grid(color=_INK, alpha=0.3, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(_INK)
  for axes in panels[:2]:
    axes.set_yscale("log")
  panels[2].set_ylim(0, 1.05)
  figure.legend(
    *panels[0].get_legend_handles_labels(),
    loc="outside right upper",
    fontsize=8,
    frameon=False,
    labelcolor=_INK,
  )
  # Text stays text, which can be read aloud and copied.
  with replacing(Path(path)) as temporary, rc_context({"svg.fonttype": "none"}):
    figure.savefig(temporary, format=Path(path).suffix[1:])
