"""Relation modules compared: equal questions, equal parameters, one data set.

    python -m benchmarks.relation_modules --data_dir=RECORDS --workdir=W \
        --output=W/table

Trains each row of the table with `launch.py`, one after another, on the
questions of all families, after stages of easy ones (configs/headline_sd.py
explains them), and writes OUTPUT.md, OUTPUT.csv and OUTPUT.svg. Every network
but the plain RN is made as wide as needed to have about its parameters.

With --inputs=pixels the rows are those of PIXEL_ROWS, on records with pictures
of 128x128, whose questions are read as they come: ten of a picture together.

What is finished stays in W: run it again after an interruption, or with more
--seeds. Rows chosen by name (--rows) are trained; all that W holds are shown.
"""

import bisect
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_collections
from absl import flags

from benchmarks.cost import flop, parameters
from benchmarks.relation_results import RESULT, read_results, read_run, write
from benchmarks.workload import load_config
from rn_jax.data import records
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.sweep import Member, train

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
_REGIONS = {"objects": "regions"}
PIXEL_ROWS: dict[str, dict[str, Any]] = {
  "RN": {},
  "object relation x2": _OBJECTS,
  "RN on 16 regions": _REGIONS,
} | {
  f"16 regions + {kind}": _REGIONS | {"encoder.context.kind": kind}
  for kind in ("se", "gc", "snl", "nl", "lr")
}
# Shares of all questions that the stages read.
_STAGES = {
  "states": (
    ("zero_hop up to 5 objects", 0.1),
    ("zero_hop comparison/0-3 up to 5 objects", 0.25),
    ("all up to 5 objects", 0.25),
  ),
  "pixels": (),
}


def rows_of(inputs: str) -> dict[str, dict[str, Any]]:
  """Returns the rows from "pixels" or "states"."""
  return PIXEL_ROWS if inputs == "pixels" else ROWS


def make_config(
  row: str, questions: int, inputs: str = "states"
) -> ml_collections.ConfigDict:
  """Returns the experiment of a row, of the RN's size."""
  config = load_config("headline_sd")
  config.model.inputs = inputs
  config.model.g_units = (128, 128, 128, 128)
  config.model.f_units = (128, 128)
  if inputs == "pixels":  # a sum over 4,096 pairs starts far off
    config.model.aggregation = "mean"
    config.data.questions_per_scene = 10
  config.data.curriculum = tuple(
    f"{names}: {int(share * questions)}" for names, share in _STAGES[inputs]
  )
  config.model.update_from_flattened_dict(rows_of(inputs)[row])
  if row != "RN":
    pairs = config.model.head.kind != "object_relation"
    name = "g_units" if pairs else "head.width"
    fit_width(config, name, parameters(make_config("RN", questions, inputs)))
  return config


def fit_width(
  config: ml_collections.ConfigDict, name: str, wanted: int
) -> None:
  """Sets the width whose number of parameters is nearest, in steps of 16."""
  widths = range(16, 513, 16)

  def at(width: int) -> int:
    value = (width,) * 4 if name == "g_units" else width
    config.model.update_from_flattened_dict({name: value})
    return parameters(config)

  first = bisect.bisect_left(widths, wanted, 1, len(widths) - 1, key=at)
  at(min(widths[first - 1 : first + 1], key=lambda w: abs(at(w) - wanted)))


def run(
  row: str,
  seed: int,
  folder: Path,
  data_dir: str,
  questions: int,
  inputs: str,
) -> None:
  """Trains and evaluates one network in a process of its own.

  Raises:
    RecordError: The data are unusable.
    TrainingError: The training failed; its log is in the folder.
  """
  entry = records.read_split(data_dir, "train")
  epochs = questions / entry["num_questions"]
  evaluations = max(4, questions // 50_000)  # slow from pixels
  folder.mkdir(parents=True, exist_ok=True)
  config = make_config(row, questions, inputs)
  settings = {
    "model.inputs": inputs,
    "data.questions_per_scene": config.data.questions_per_scene,
    "train.batch_size": 160 if inputs == "pixels" else 64,
    "data.dir": os.path.abspath(data_dir),
    "data.curriculum": config.data.curriculum,
    "optimizer.warmup_epochs": 0.02 * epochs,
    "optimizer.hold_epochs": 0.5 * epochs,
    "train.num_epochs": epochs,
    "train.eval_every": epochs / (10 if inputs == "states" else evaluations),
  }
  names = ["g_units", "f_units", "question_layer", "aggregation", "objects"]
  for name in names:
    settings[f"model.{name}"] = config.model[name]
  settings["model.encoder.context.kind"] = config.model.encoder.context.kind
  for name, value in config.model.head.items():
    settings[f"model.head.{name}"] = value
  started = time.perf_counter()
  usage = train(
    Member("configs/headline_sd.py", seed, folder / "run"),
    [f"{name}={value}" for name, value in settings.items()],
  )
  result = {
    "row": row,
    "seed": seed,
    "questions": questions,
    "seconds": time.perf_counter() - started,
    "peak_mib": usage.ru_maxrss / 1024,
    "parameters": parameters(config),
    "multiply_adds": flop(config, 1) / 2,
    **read_run(folder / "run"),
  }
  with replacing(folder / RESULT) as path:
    path.write_text(json.dumps(result, indent=2))


def main(
  data_dir: str,
  workdir: str,
  output: str,
  rows: Sequence[str],
  seeds: int,
  questions: int,
  inputs: str,
) -> None:
  """Trains what is missing, and writes the results."""
  known = list(rows_of(inputs))
  if unknown := set(rows) - set(known):
    raise ValueError(f"no such rows: {sorted(unknown)}; there are {known}")
  finished = Path(workdir) / inputs
  for seed in range(seeds):
    for row in rows or known:
      name = row.replace(" ", "_")
      folder = finished / f"{name}-{questions}-{seed}"
      if not (folder / RESULT).exists():
        print(f"{row}, seed {seed}: {folder / 'run.log'}", flush=True)
        run(row, seed, folder, data_dir, questions, inputs)
  print(write(read_results(finished, known, questions), Path(output)))


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
    flags.DEFINE_enum("inputs", "states", list(_STAGES), "What networks read."),
  )
