"""What runs of relation_modules.py came to: a table, and curves."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rn_jax.clevr import QUESTION_TYPES
from rn_jax.host.atomic import replacing
from rn_jax.plots.run_plots import read_metrics
from rn_jax.report.comparison import percent
from rn_jax.run_series import (
  questions_between,
  questions_read,
  seconds_between,
)

RESULT = "result.json"


def read_run(workdir: Path) -> dict[str, Any]:
  """Returns what a finished run says of itself.

  Returns:
    `accuracy`, that of `zero_hop` alone, `by_type` of question, `rate` in
    questions a second, and `curve`: rows of questions read, seconds of updates,
    validation accuracy.
  """
  scores = json.loads((workdir / "eval_val.json").read_text())
  config = json.loads((workdir / "config.json").read_text())["config"]
  series = read_metrics(workdir / "metrics.jsonl")
  rates, accuracy = series["train/samples_per_second"], series["val/accuracy"]
  size = config["train"]["batch_size"]
  seconds = seconds_between(series, questions_between(series, size))
  seconds = np.concatenate([[0.0], seconds.cumsum()])
  passed = seconds[np.searchsorted(rates["step"], accuracy["step"], "right")]
  read = questions_read(series, size, accuracy["step"])
  curve = np.stack([read, passed, accuracy["value"]], 1)
  return {
    "accuracy": scores["accuracy"],
    "zero_hop": scores["by_template"]["zero_hop"]["accuracy"],
    "by_type": {
      name: entry["accuracy"]
      for name, entry in scores["by_question_type"].items()
    },
    "rate": float(np.median(rates["value"])),
    "curve": curve.tolist(),
  }


def read_results(
  workdir: Path, rows: Sequence[str], questions: int
) -> dict[str, list[dict]]:
  """Returns the finished runs of each row that has some."""
  found: dict[str, list[dict]] = {row: [] for row in rows}
  for path in sorted(workdir.glob(f"*-{questions}-*/{RESULT}")):
    result = json.loads(path.read_text())
    found[result["row"]].append(result)
  return {row: runs for row, runs in found.items() if runs}


def table(results: Mapping[str, Sequence[dict]]) -> list[list[str]]:
  """Returns the rows of the table, the names of the columns first."""
  types = list(QUESTION_TYPES)
  columns = ["row", "seeds", "accuracy %", "zero_hop %"]
  columns += [f"{name} %" for name in types]
  columns += ["parameters", "multiply-adds", "questions/s", "peak MiB"]
  rows = [columns]
  for name, runs in results.items():
    by_type = [percent([r["by_type"][t] for r in runs]) for t in types]
    rows.append(
      [
        name,
        str(len(runs)),
        percent([r["accuracy"] for r in runs]),
        percent([r["zero_hop"] for r in runs]),
        *by_type,
        f"{runs[0]['parameters']:,}",
        f"{runs[0]['multiply_adds'] / 1e6:.1f} M",
        f"{np.median([r['rate'] for r in runs]):,.0f}",
        f"{max(r['peak_mib'] for r in runs):,.0f}",
      ]
    )
  return rows


def draw(results: Mapping[str, Sequence[dict]]) -> Figure:
  """Validation accuracy over questions and over seconds, means over seeds."""
  figure = Figure((9, 4.2), layout="constrained")
  axes = figure.subplots(1, 2, sharey=True)
  for index, label in enumerate(("million questions", "minutes of training")):
    scale = (1e6, 60.0)[index]
    for number, (name, runs) in enumerate(results.items()):
      curves = np.array([r["curve"] for r in runs]).mean(0)
      axes[index].plot(
        curves[:, index] / scale,
        100 * curves[:, 2],
        color=f"C{number}",
        linestyle=("-", "--")[number // 5 % 2],
        label=name,
      )
    axes[index].set(xlabel=label)
    axes[index].spines[["top", "right"]].set_visible(False)
    axes[index].grid(alpha=0.3)
  axes[0].set(ylabel="right on validation questions (%)")
  figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
  )
  return figure


def write(results: Mapping[str, Sequence[dict]], output: Path) -> str:
  """Writes OUTPUT.md, .csv and .svg; returns the Markdown."""
  rows = table(results)
  ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
  markdown = "\n".join(f"| {' | '.join(row)} |" for row in ruled) + "\n"
  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows(rows)
  for suffix, content in ((".md", markdown), (".csv", text.getvalue())):
    with replacing(output.with_suffix(suffix)) as path:
      path.write_text(content)
  with replacing(output.with_suffix(".svg")) as path:
    draw(results).savefig(path, format="svg")
  return markdown
