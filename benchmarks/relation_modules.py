"""Relation modules compared: equal questions, equal parameters, one data set.

    python -m benchmarks.relation_modules --data_dir=RECORDS --workdir=W \
        --output=docs/relation_modules

Trains each row of the table with `launch.py`, one after another, on the
questions of all families, after stages of easy ones (configs/headline_sd.py
explains them), and writes OUTPUT.md, OUTPUT.csv and OUTPUT.svg. Every network
but the plain RN is made as wide as needed to have about its parameters.

What is finished stays in W: run it again after an interruption, or with more
--seeds. Rows chosen by name (--rows) are trained; all that W holds are shown.
"""

import bisect
import csv
import io
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import flags
from matplotlib.figure import Figure
from scipy import stats

from benchmarks.cost import NUM_ANSWERS, NUM_WORDS, batch_shapes
from benchmarks.workload import load_config
from rn_jax.clevr import QUESTION_TYPES
from rn_jax.data import records
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.steps import make_model

_OBJECTS = {"head.kind": "object_relation", "question_layer": 0}
# Settings of config.model, by the name of the row.
ROWS: dict[str, dict[str, Any]] = {
  "RN": {},
  "2S-RN": {"question_layer": 2},
  "object relation x1": _OBJECTS | {"head.layers": 1},
  "object relation x2": _OBJECTS,
  "object relation x4": _OBJECTS | {"head.layers": 4},
  "x2 without geometry": _OBJECTS | {"head.geometry": "none"},
  "x2 signed geometry": _OBJECTS | {"head.geometry": "signed"},
  "x2 mean": _OBJECTS | {"head.pooling": "mean"},
  "object relation + pairs": {
    "head.kind": "object_relation_pairwise",
    "head.layers": 1,
    "head.width": 64,
    "head.zero_init": True,
  },
}
# Shares of all questions that the stages read.
_STAGES = (
  ("zero_hop up to 5 objects", 0.1),
  ("zero_hop comparison/0-3 up to 5 objects", 0.25),
  ("all up to 5 objects", 0.25),
)
_RESULT = "result.json"


def make_config(row: str, questions: int) -> ml_collections.ConfigDict:
  """Returns the experiment of a row, of the RN's size."""
  config = load_config("headline_sd")
  config.model.g_units = (128, 128, 128, 128)
  config.model.f_units = (128, 128)
  config.data.curriculum = tuple(
    f"{names}: {int(share * questions)}" for names, share in _STAGES
  )
  config.model.update_from_flattened_dict(ROWS[row])
  if row != "RN":
    pairs = config.model.head.kind != "object_relation"
    name = "g_units" if pairs else "head.width"
    fit_width(config, name, count(make_config("RN", questions)))
  return config


def fit_width(
  config: ml_collections.ConfigDict, name: str, parameters: int
) -> None:
  """Sets the width whose number of parameters is nearest, in steps of 16."""

  widths = range(16, 513, 16)

  def at(width: int) -> int:
    value = (width,) * 4 if name == "g_units" else width
    config.model.update_from_flattened_dict({name: value})
    return count(config)

  first = bisect.bisect_left(widths, parameters, 1, len(widths) - 1, key=at)
  at(min(widths[first - 1 : first + 1], key=lambda w: abs(at(w) - parameters)))


def count(config: ml_collections.ConfigDict) -> int:
  """Returns the number of parameters."""
  model = make_model(config, NUM_WORDS, NUM_ANSWERS)
  shapes = jax.eval_shape(
    model.init, jax.random.key(0), batch_shapes(config, 1, 1)
  )
  return sum(x.size for x in jax.tree.leaves(shapes["params"]))


def multiply_adds(config: ml_collections.ConfigDict) -> float:
  """Returns those of answering a question about ten objects, by XLA's count."""
  config = ml_collections.ConfigDict(config.to_dict())
  config.model.scenes_per_block = None
  model = make_model(config, NUM_WORDS, NUM_ANSWERS)
  batch = batch_shapes(config, 1, 1)
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)
  cost = jax.jit(model.apply).lower(variables, batch).compile().cost_analysis()
  return cost["flops"] / 2


def run(
  row: str, seed: int, folder: Path, data_dir: str, questions: int
) -> None:
  """Trains and evaluates one network in a process of its own.

  Raises:
    RecordError: The data are unusable.
    RuntimeError: The training failed; its log is in the folder.
  """
  train = records.read_split(data_dir, "train")
  epochs = questions / train["num_questions"]
  folder.mkdir(parents=True, exist_ok=True)
  config = make_config(row, questions)
  settings = {
    "seed": seed,
    "data.dir": os.path.abspath(data_dir),
    "data.curriculum": config.data.curriculum,
    "optimizer.warmup_epochs": 0.02 * epochs,
    "optimizer.hold_epochs": 0.5 * epochs,
    "train.num_epochs": epochs,
    "train.eval_every": epochs / 10,
  }
  for name in ("g_units", "f_units", "question_layer"):
    settings[f"model.{name}"] = config.model[name]
  for name, value in config.model.head.items():
    settings[f"model.head.{name}"] = value
  command = [
    sys.executable,
    "launch.py",
    "--config=configs/headline_sd.py",
    f"--workdir={folder / 'run'}",
    *(f"--config.{name}={value}" for name, value in settings.items()),
  ]
  started = time.perf_counter()
  with open(folder / "log", "a") as log:
    process = subprocess.Popen(command, stdout=log, stderr=log)
    _, status, usage = os.wait4(process.pid, 0)
  if status:
    raise RuntimeError(f"{row}, seed {seed} failed; see {folder / 'log'}")
  result = {
    "row": row,
    "seed": seed,
    "questions": questions,
    "seconds": time.perf_counter() - started,
    "peak_mib": usage.ru_maxrss / 1024,
    "parameters": count(config),
    "multiply_adds": multiply_adds(config),
    **read_run(folder / "run"),
  }
  with replacing(folder / _RESULT) as path:
    path.write_text(json.dumps(result, indent=2))


def read_run(workdir: Path) -> dict[str, Any]:
  """Returns what a finished run says of itself."""
  scores = json.loads((workdir / "eval_val.json").read_text())
  curve, rates, seconds, last = [], [], 0.0, 0
  batch = json.loads((workdir / "config.json").read_text())
  batch = batch["config"]["train"]["batch_size"]
  for line in (workdir / "metrics.jsonl").read_text().splitlines():
    entry = json.loads(line)
    asked = entry["step"] * batch
    if rate := entry.get("train/samples_per_second"):
      rates.append(rate)
      seconds, last = seconds + (asked - last) / rate, asked
    if "val/accuracy" in entry:
      curve.append((asked, seconds, entry["val/accuracy"]))
  return {
    "accuracy": scores["accuracy"],
    "by_type": {
      name: entry["accuracy"]
      for name, entry in scores["by_question_type"].items()
    },
    "rate": float(np.median(rates)),
    "curve": curve,
  }


def read_results(workdir: Path, questions: int) -> dict[str, list[dict]]:
  """Returns the finished runs of each row that has some."""
  found: dict[str, list[dict]] = {row: [] for row in ROWS}
  for path in sorted(workdir.glob(f"*-{questions}-*/{_RESULT}")):
    result = json.loads(path.read_text())
    found[result["row"]].append(result)
  return {row: runs for row, runs in found.items() if runs}


def interval(values: Sequence[float]) -> tuple[float, float | None]:
  """Returns the mean, and half of its 95 % interval by Student's t."""
  mean = float(np.mean(values))
  if len(values) < 2:
    return mean, None
  error = np.std(values, ddof=1) / math.sqrt(len(values))
  return mean, float(stats.t.ppf(0.975, len(values) - 1) * error)


def table(results: Mapping[str, Sequence[dict]]) -> list[list[str]]:
  """Returns the rows of the table, the names of the columns first."""
  types = list(QUESTION_TYPES)
  columns = ["row", "seeds", "accuracy %", *(f"{name} %" for name in types)]
  columns += ["parameters", "multiply-adds", "questions/s", "peak MiB"]
  rows = [columns]
  for name, runs in results.items():

    def percent(values):
      mean, half = interval([100 * x for x in values])
      return f"{mean:.1f}" + ("" if half is None else f" ± {half:.1f}")

    by_type = [percent([r["by_type"][t] for r in runs]) for t in types]
    rows.append(
      [
        name,
        str(len(runs)),
        percent([r["accuracy"] for r in runs]),
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


def main(
  data_dir: str,
  workdir: str,
  output: str,
  rows: Sequence[str],
  seeds: int,
  questions: int,
) -> None:
  """Trains what is missing, and writes the results."""
  if unknown := set(rows) - set(ROWS):
    raise ValueError(f"no such rows: {sorted(unknown)}; there are {list(ROWS)}")
  for seed in range(seeds):
    for row in rows or ROWS:
      name = row.replace(" ", "_")
      folder = Path(workdir) / f"{name}-{questions}-{seed}"
      if not (folder / _RESULT).exists():
        print(f"{row}, seed {seed}: {folder / 'log'}", flush=True)
        run(row, seed, folder, data_dir, questions)
  print(write(read_results(Path(workdir), questions), Path(output)))


if __name__ == "__main__":
  cli.run(
    main,
    cli.path_flag("data_dir", None, "Records folder.", required=True),
    cli.path_flag("workdir", None, "Folder of the runs.", required=True),
    cli.path_flag(
      "output", None, "Where to write, without a suffix.", required=True
    ),
    flags.DEFINE_list("rows", [], "Rows to train; none: all."),
    flags.DEFINE_integer("seeds", 1, "Runs of each row.", 1),
    flags.DEFINE_integer("questions", 1_000_000, "That each run reads.", 1000),
  )
