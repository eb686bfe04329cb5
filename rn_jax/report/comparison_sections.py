"""The sections of a report that put runs side by side."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from rn_jax.plots.confusion import draw_confusion
from rn_jax.plots.curves import draw_accuracy
from rn_jax.plots.rows import RowCurves, draw_rows
from rn_jax.report.blocks import Gallery, Picture, Section, Table, Text
from rn_jax.report.comparison import (
  Row,
  differing_keys,
  interval,
  mean_series,
  own_settings,
  percent,
  pooled,
  questions_until,
  thousands,
)
from rn_jax.report.published import published, source
from rn_jax.report.runs import Run

# Validation accuracies of which a table says when they were reached.
_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)

# Of more rows, a table with a column each would be too wide.
_COLUMNS = 6


def figures_section(rows: Sequence[Row]) -> Section:
  """The final figures, and beside them the paper's."""
  known = [published(row.runs[0].config) for row in rows]
  several = any(len(row.runs) > 1 for row in rows)
  head = ["run", "seeds", "all", "question alone", "wrong kind"]
  head += ["questions read"] + ["published"] * any(known)
  lines = []
  for row, paper in zip(rows, known, strict=True):
    line = [row.name, ", ".join(str(run.seed) for run in row.runs)]
    line.append(_mean(row, lambda run: run.scores["accuracy"]))
    for key in ("question_only_accuracy", "invalid_rate"):
      mean = _mean(row, lambda run, k=key: run.scores.get(k))
      line.append(mean.partition(" ±")[0])
    read = sorted(n for run in row.runs if (n := run.questions_seen))
    ends = dict.fromkeys((*read[:1], *read[-1:]))
    line.append(" to ".join(f"{n:,}" for n in ends) or "–")
    if any(known):
      line.append(paper["figure"] if paper else "–")
    lines.append(line)
  legend = [
    "Per cent of the evaluated questions. Question alone: what counting "
    "reaches without seeing the scenes. Wrong kind: answers outside the class "
    "that was asked for, such as a colour in place of a number."
  ]
  if several:
    legend.append(
      "± is half of the 95 % interval of the mean over seeds, by Student's t."
    )
  notes = [
    f"{run.name}: {run.note}." for row in rows for run in row.runs if run.note
  ]
  blocks = [
    Text(" ".join(legend)),
    Table("Accuracy (%)", head, lines),
    *_by_group(rows, "by_answer_class", "Accuracy (%) by class of the answer"),
    *_by_group(rows, "by_question_type", "Accuracy (%) by type of question"),
    *map(Text, notes),
  ]
  if any(known):
    papers = {p["name"]: p for p in known if p}
    named = "; ".join(
      f"{p['name']} {p['figure']} ({p['where']})" for p in papers.values()
    )
    blocks.append(
      Text(
        f"Published, in per cent: {named}. From {source()}. The runs here may "
        "have other data, sizes and schedules."
      )
    )
  return Section("Figures", blocks)


def _by_group(rows: Sequence[Row], part: str, title: str) -> list[Table]:
  names = dict.fromkeys(
    name
    for row in rows
    for run in row.runs
    for name, entry in run.scores[part].items()
    if entry["count"]
  )
  if not names:
    return []
  lines = [
    [
      row.name,
      *(
        _mean(row, lambda run, n=n: run.scores[part].get(n, {}).get("accuracy"))
        for n in names
      ),
    ]
    for row in rows
  ]
  head = ["run", *(name.replace("_", " ") for name in names)]
  return [Table(title, head, lines)]


def _mean(row: Row, of: Callable[[Run], float | None]) -> str:
  return percent([of(run) for run in row.runs])


def settings_section(rows: Sequence[Row]) -> Section:
  """The settings that differ between rows."""
  text = "The other settings, and what they are, stand in each config.json."
  configs = [row.runs[0].config for row in rows]
  if len(rows) > _COLUMNS:
    lines = [
      [row.name, ", ".join(f"{k}={_value(v)}" for k, v in own.items()) or "–"]
      for row, own in zip(rows, own_settings(configs), strict=True)
    ]
    head = ["run", "what differs from most runs"]
    table = Table("Settings that differ", head, lines, words=head[1:])
    return Section("What differs", [table, Text(text)])
  keys = differing_keys(configs)
  lines = [
    [key, *(_value(value) for value in column)] for key, column in keys.items()
  ]
  table = Table(
    "Settings that differ",
    ["key", *(r.name for r in rows)],
    lines,
    words=[r.name for r in rows],
  )
  return Section("What differs", [table, Text(text)])


def _value(value: Any) -> str:
  if isinstance(value, list | tuple):
    return ", ".join(map(str, value)) or "none"
  return "–" if value in (None, "") else str(value)


def curves_section(rows: Sequence[Row]) -> Section | None:
  """Accuracy over the questions read, a curve a row; None without any."""
  curves = []
  for row in rows:
    means, ranges = mean_series(row.runs)
    curves.append(RowCurves(row.name, means, ranges))
  if not any("val/accuracy" in row.means for row in curves):
    return None
  plot = Picture(
    "curves", "Accuracy of the runs by class of the answer", draw_rows(curves)
  )
  return Section(
    "Accuracy over the questions read",
    [Text(_of_curves(rows)), plot, *_until(rows)],
  )


def _of_curves(rows: Sequence[Row]) -> str:
  band = " A band reaches from the lowest to the highest seed."
  several = any(len(row.runs) > 1 for row in rows)
  return (
    "On the validation split, as it was evaluated during training."
    + band * several
  )


def _until(rows: Sequence[Row]) -> list[Table | Text]:
  """How many questions it took to come so far; nothing where none came."""
  columns = {}
  for level in _LEVELS:
    column = [[questions_until(run, level) for run in row.runs] for row in rows]
    if any(n is not None for numbers in column for n in numbers):
      columns[f"{100 * level:.0f} %"] = column
  if not columns:
    return []
  lines = [
    [row.name, *(thousands(column[i]) for column in columns.values())]
    for i, row in enumerate(rows)
  ]
  title = "Thousands of questions read until validation was at"
  text = (
    "Between evaluations the accuracy is taken to grow evenly. Where only some "
    "seeds came so far, it is the mean of these, and how many they are."
  )
  return [Table(title, ["run", *columns], lines), Text(text)]


def row_sections(rows: Sequence[Row], split: str) -> list[Section]:
  """Of each row its curves by class and its confusion matrix."""
  sections = []
  for number, row in enumerate(rows, start=1):
    stem = f"{number}-{slug(row.name)}"
    sections.append(
      Section(row.name, run_blocks(row, split, stem), folded=True)
    )
  return sections


def run_blocks(
  row: Row, split: str, stem: str
) -> list[Text | Table | Picture | Gallery]:
  """The curves and the confusion matrix of one row.

  Args:
    row: The row.
    split: That was evaluated.
    stem: How the names of the pictures' files begin.
  """
  means, _ = mean_series(row.runs)
  blocks = []
  blind = interval(
    [run.scores.get("question_only_accuracy") for run in row.runs]
  )
  if "val/accuracy" in means:
    figure = draw_accuracy(
      means, blind[0] if blind else None, by_questions=True
    )
    title = "Accuracy by class of the answer (the paper's figures 2 and 4)"
    blocks.append(Picture(f"{stem}-curves", title, figure, wide=True))
  else:
    blocks.append(Text("No curves: there is no metrics.jsonl of this run."))
  blocks.append(
    Picture(
      f"{stem}-confusion",
      "Confusion matrix (the paper's figures 3 and 5)"
      + ", all seeds together" * (len(row.runs) > 1),
      draw_confusion(pooled(row.runs), split),
      wide=True,
    )
  )
  return blocks


def slug(name: str) -> str:
  """Returns a name as a part of a file's."""
  return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "run"


def title_of(rows: Sequence[Row]) -> str:
  """Returns how the page is called."""
  number = sum(len(row.runs) for row in rows)
  runs = f"{number} run{'s' * (number > 1)}"
  if len(rows) == 1:
    return f"{rows[0].name}: {runs}"
  return f"{len(rows)} experiments, {runs}"
