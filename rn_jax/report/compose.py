"""Whole reports: of several runs, and of one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging

from rn_jax.evaluate import (
  load_network,
  of_the_training,
  predict_split,
  score,
)
from rn_jax.host.paths import names_apart, place
from rn_jax.report.answered import Answered
from rn_jax.report.blocks import Report, Section, Text
from rn_jax.report.comparison import Row, evaluated_on, group_runs
from rn_jax.report.comparison_sections import (
  curves_section,
  figures_section,
  row_sections,
  run_blocks,
  settings_section,
  slug,
  title_of,
)
from rn_jax.report.error_sections import error_sections
from rn_jax.report.runs import (
  NotEvaluatedError,
  Run,
  flat_config,
  read_run,
  read_series,
  unfinished,
)


def compare_runs(folders: Sequence[Path], split: str) -> Report:
  """Compares runs by what is in their folders.

  Runs without an evaluation are left out, with a line here and in the report.

  Args:
    folders: Their workdirs.
    split: That was evaluated.

  Raises:
    ValueError: A run cannot be read, or none was evaluated.
  """
  runs, left_out = [], []
  for folder, name in zip(folders, names_apart(folders), strict=True):
    try:
      runs.append(read_run(folder, name, split))
    except NotEvaluatedError as error:
      logging.warning("Left out: %s", error)
      left_out.append(f"{error}.")
  if not runs:
    raise ValueError(f"none of {len(folders)} runs is evaluated; {left_out[0]}")
  rows = group_runs(runs)
  sections = [figures_section(rows), curves_section(rows)]
  if len(apart := evaluated_on(runs)) > 1:
    lines = [f"{', '.join(run.name for run in group)}." for group in apart]
    sections.insert(
      0,
      Section(
        "Evaluated on different data",
        [Text("Figures of one line below can be compared, others cannot.")]
        + [Text(line) for line in lines],
      ),
    )
  if left_out:
    sections.insert(0, Section("Left out", [Text(t) for t in left_out]))
  if len(rows) > 1:
    sections.append(settings_section(rows))
  sections += row_sections(rows, split)
  best = max(rows, key=lambda row: _mean_accuracy(row.runs))
  summary = (
    f"Accuracy on {split}, {_questions(runs)}. Highest: {best.name}, "
    f"{100 * _mean_accuracy(best.runs):.1f} %."
  )
  return Report(title_of(rows), summary, [s for s in sections if s])


def explain_run(folder: Path, split: str, data_dir: str | None) -> Report:
  """Says where the best network of a run errs, by answering the split again.

  Args:
    folder: Its workdir, or another folder with checkpoints.
    split: To answer.
    data_dir: Records; None: those that it was trained with.

  Raises:
    CheckpointError: There is no usable checkpoint.
    ValueError: The records are not there, or not what the network reads.
  """
  _, saved, _ = load_network(folder)
  # Networks that were given away do not say where their records were.
  where = data_dir or saved.data.dir
  records_dir = place(where)
  if not where or (data_dir is None and not records_dir.is_dir()):
    raise ValueError(
      f"{folder}: the records that it was trained with, "
      f"{saved.data.dir or 'of an unknown folder'}, are not here; name some "
      "with --data_dir=RECORDS"
    )
  dataset, predictions = predict_split(
    folder, split, {"data.dir": str(records_dir)}, with_answers=True
  )
  config, seed = flat_config(saved.to_dict())
  series = read_series(folder)
  scores = score(dataset, predictions)
  scores["data_sha256"] = dataset.sha256
  scores |= of_the_training(folder, split, scores)
  [name] = names_apart([folder])
  run = Run(name, config, seed, series, scores, unfinished(config, series))
  row = Row(name, [run])
  answered = Answered(
    dataset,
    predictions["answer"],
    predictions["probability"],
    predictions["loss"],
    records_dir,
  )
  wrong = int((~answered.correct).sum())
  summary = (
    f"The best network of this run answers {_questions([run])} of {split}: "
    f"{100 * scores['accuracy']:.1f} % are right, {wrong:,} are wrong."
  )
  sections = [
    figures_section([row]),
    *error_sections(answered),
    Section("Curves and confusion", run_blocks(row, split, slug(name))),
  ]
  return Report(f"Where {name} errs", summary, sections)


def _mean_accuracy(runs: Sequence[Run]) -> float:
  return float(np.mean([run.scores["accuracy"] for run in runs]))


def _questions(runs: Sequence[Run]) -> str:
  counts = sorted({run.scores["num_examples"] for run in runs})
  return (
    " to ".join(f"{n:,}" for n in (counts[0], counts[-1])[-len(counts) :])
    + " questions"
  )
