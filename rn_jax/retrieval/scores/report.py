"""Writes down scores of rankings: as JSON, as CSV, and as Markdown tables."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np

from rn_jax.host.atomic import replacing
from rn_jax.retrieval.scene_graphs.ground_truth_file import GroundTruth
from rn_jax.retrieval.scores import ranking
from rn_jax.retrieval.scores.scoring import METRICS, Candidate, Scores

_NAMES = {
  "rho": "rho",
  "rho_same_count": "rho, same count",
  "tau": "tau",
  "ndcg@5": "nDCG@5",
  "ndcg@20": "nDCG@20",
}


def summarise(
  truth: GroundTruth,
  file: str,
  candidates: list[Candidate],
  scores: list[Scores],
  random_level: dict[str, float],
) -> dict:
  """Sums up the scores against one ground truth, as JSON values."""
  rows = []
  for candidate, score in zip(candidates, scores, strict=True):
    curve = [ranking.mean_and_interval(column) for column in score.curve.T]
    rows.append(
      {
        "label": candidate.label,
        "kind": candidate.kind,
        "vector": candidate.vector,
        "source": candidate.source,
        "metrics": {
          name: _summary(values) for name, values in score.metrics.items()
        },
        "recall_curve": {
          "k": score.ks.tolist(),
          "mean": [mean for mean, _, _ in curve],
          "interval": [_number(interval) for _, interval, _ in curve],
        },
      }
    )
  return {
    "ground_truth": truth.name,
    "file": file,
    "metadata": truth.metadata,
    "num_scenes": len(truth.scenes),
    "query_index": truth.query_index.tolist(),
    "random_level": {m: _number(level) for m, level in random_level.items()},
    "rows": rows,
  }


def _summary(values: np.ndarray) -> dict:
  mean, interval, queries = ranking.mean_and_interval(values)
  return {
    "mean": _number(mean),
    "interval": _number(interval),
    "queries": queries,
    "values": [_number(value) for value in values.tolist()],
  }


def _number(value: float) -> float | None:
  return float(value) if math.isfinite(value) else None


def write_report(output_dir: Path, tables: list[dict]) -> list[Path]:
  """Writes evaluation.json, evaluation.csv and evaluation.md.

  Args:
    output_dir: Folder, made if need be.
    tables: What `summarise` returned for each ground truth.

  Returns:
    The files.
  """
  output_dir.mkdir(parents=True, exist_ok=True)
  texts = {
    "evaluation.json": json.dumps({"tables": tables}, allow_nan=False) + "\n",
    "evaluation.csv": _csv(tables),
    "evaluation.md": "\n".join(markdown(table) for table in tables),
  }
  for name, text in texts.items():
    with replacing(output_dir / name) as temporary:
      temporary.write_text(text, encoding="utf-8")
  return [output_dir / name for name in texts]


def _csv(tables: list[dict]) -> str:
  """One line per ground truth, row and metric."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(
    [
      *("ground_truth", "file", "kind", "descriptor", "vector", "metric"),
      *("mean", "interval", "queries"),
    ]
  )
  for table in tables:
    for row in table["rows"]:
      for metric, summary in row["metrics"].items():
        writer.writerow(
          [
            *(table["ground_truth"], table["file"]),
            *(row["kind"], row["label"], row["vector"], metric),
            *(summary[key] for key in ("mean", "interval", "queries")),
          ]
        )
  return text.getvalue()


def markdown(table: dict) -> str:
  """Returns one ground truth's table, with a line on how to read it."""
  metrics = [m for m in METRICS if m in table["rows"][0]["metrics"]]
  header = ["descriptor", "vector", *(_NAMES.get(m, m) for m in metrics)]
  lines = [header, ["---", "---", *("---:" for _ in metrics)]]
  levels = table["random_level"]
  lines.append(
    ["*any order, on average*", "", *(_three(levels[m]) for m in metrics)]
  )
  for row in table["rows"]:
    label = row["label"] if row["kind"] == "descriptor" else f"*{row['label']}*"
    cells = (_cell(row["metrics"][m]) for m in metrics)
    lines.append([label, row["vector"], *cells])
  # The first row is random: hardly ever constant.
  same = table["rows"][0]["metrics"]["rho_same_count"]["queries"]
  return "\n".join(
    [
      f"## {table['ground_truth']} ({Path(table['file']).stem})\n",
      f"{len(table['query_index'])} queries, {table['num_scenes']} scenes; "
      "mean ± half of the 95 % interval over the queries. A query is not in "
      "its own ranking. In italics: rows that know nothing, the number of "
      "objects, or the scene itself. Same count: among images with as many "
      f"objects ({same} queries have enough of them).\n",
      *(f"| {' | '.join(line)} |" for line in lines),
      "",
    ]
  )


def _cell(summary: dict) -> str:
  if summary["interval"] is None:
    return _three(summary["mean"])
  return f"{summary['mean']:.3f} ± {summary['interval']:.3f}"


def _three(mean: float | None) -> str:
  return "–" if mean is None else f"{mean:.3f}"
