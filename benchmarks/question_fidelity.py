r"""Whether questions are right, and like those of CLEVR's own generator.

    python -m benchmarks.question_fidelity --gold_dir=GOLD \\
        --language_dir=LANGUAGE

GOLD holds folders in CLEVR's layout, made with the original generator, and
LANGUAGE its templates. The programs of all questions are executed, theirs and
as many again made here; then the two are compared.
"""

import collections
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from absl import flags

from benchmarks import timing
from data_prep.generation.job import BALANCED_SCENES, Job, make_part
from data_prep.language.programs import execute, function_of, scene_table
from rn_jax.clevr import (
  ANSWER_CLASSES,
  QUESTION_TYPES,
  answer_class,
  question_type,
  tokenize,
)
from rn_jax.host import cli


def run(
  gold_dir: str, language_dir: str | None, scenes: int, seed: int
) -> dict[str, list[dict]]:
  """Prints the comparison and returns the questions; see the flags below.

  Raises:
    ValueError: A program does not give the answer of its question.
  """
  data = {"original": _read(Path(gold_dir))}
  for name in BALANCED_SCENES:
    data[name] = _make(scenes, seed, language_dir, name)
  questions = {}
  for name, parts in data.items():
    questions[name] = [q for _, asked in parts for q in asked]
    right = sum(_count_right(*part) for part in parts)
    print(f"{name}: {right:,} of {len(questions[name]):,} answers are right")
    if right != len(questions[name]):
      raise ValueError(f"{name}: wrong answers")
  print()
  _compare("question type", "%", questions, _type_shares)
  _compare("answer class", "%", questions, _class_shares)
  _compare("words and marks", "", questions, _lengths)
  _compare("answer to count", "% of them", questions, _count_shares)
  _print_sets(questions)
  return questions


def _read(folder: Path) -> list[tuple[list[dict], list[dict]]]:
  """Returns the scenes and questions of each split below a folder."""
  parts = []
  for path in sorted(folder.rglob("questions/CLEVR_*_questions.json")):
    split = path.name.split("_")[1]
    scenes = path.parents[1] / "scenes" / f"CLEVR_{split}_scenes.json"
    parts.append(
      (
        json.loads(scenes.read_text())["scenes"],
        json.loads(path.read_text())["questions"],
      )
    )
  if not parts:
    raise ValueError(f"{folder} has no questions/CLEVR_*_questions.json")
  return parts


def _make(
  scenes: int, seed: int, language_dir: str | None, count_answers: str
) -> list[tuple[list[dict], list[dict]]]:
  job = Job(
    "val",
    scenes,
    seed,
    count_answers=count_answers,
    language_dir=language_dir,
  )
  return [make_part(job, part)[0] for part in range(job.num_parts)]


def _count_right(scenes: list[dict], questions: list[dict]) -> int:
  tables = {s["image_index"]: scene_table(s) for s in scenes}
  return sum(
    execute(q["program"], tables[q["image_index"]]) == _answer(q)
    for q in questions
  )


def _answer(question: dict) -> str:
  # Released data have words; the public generator leaves true and numbers.
  answer = question["answer"]
  if isinstance(answer, bool):
    return "yes" if answer else "no"
  return str(answer)


def _shares(values: Iterable[str], keys: Iterable[str]) -> dict[str, float]:
  counts = collections.Counter(values)
  return {key: 100 * counts[key] / counts.total() for key in keys}


def _type_shares(questions: Sequence[dict]) -> dict[str, float]:
  types = [question_type(function_of(q["program"][-1])) for q in questions]
  return _shares(types, QUESTION_TYPES)


def _class_shares(questions: Sequence[dict]) -> dict[str, float]:
  return _shares([answer_class(_answer(q)) for q in questions], ANSWER_CLASSES)


def _count_shares(questions: Sequence[dict]) -> dict[str, float]:
  answers = [
    _answer(q) for q in questions if function_of(q["program"][-1]) == "count"
  ]
  return _shares(answers, map(str, range(11)))


def _words(question: dict) -> int:
  return len(tokenize(question["question"]))


def _lengths(questions: Sequence[dict]) -> dict[str, float]:
  lengths = sorted(map(_words, questions))
  cuts = statistics.quantiles(lengths, n=100)
  return {
    "mean": statistics.fmean(lengths),
    "standard deviation": statistics.stdev(lengths),
    **{f"{p} % have at most": float(cuts[p - 1]) for p in (5, 25, 50, 75, 95)},
    "longest": float(lengths[-1]),
  }


def _compare(title: str, unit: str, questions: Mapping, measure) -> None:
  """Prints a table with a column for each data set, and the difference."""
  columns = {name: measure(rows) for name, rows in questions.items()}
  first, second = list(columns.values())[:2]
  timing.print_table(
    (f"{title} {unit}".strip(), *columns, "balanced - original"),
    [
      (key, *[c[key] for c in columns.values()], second[key] - first[key])
      for key in first
    ],
  )
  print()


def _print_sets(questions: Mapping[str, Sequence[dict]]) -> None:
  """Prints what is in use, and how far the lengths' distributions are apart."""
  words = {
    name: {word for q in rows for word in tokenize(q["question"])}
    for name, rows in questions.items()
  }
  for name, rows in questions.items():
    families = {
      (Path(q.get("template_filename", "")).name, q["question_family_index"])
      for q in rows
    }
    lengths = [
      collections.Counter(map(_words, questions[n])) for n in (name, "original")
    ]
    apart = sum(
      abs(lengths[0][n] / len(rows) - lengths[1][n] / lengths[1].total())
      for n in {*lengths[0], *lengths[1]}
    )
    print(
      f"{name}: {len(families)} families, {len(words[name])} words, of which"
      f" {len(words[name] - words['original'])} are not among the original's;"
      f" total variation of lengths {apart / 2:.3f}"
    )


if __name__ == "__main__":
  timing.main(
    run,
    [
      cli.path_flag(
        "gold_dir", None, "Data of the original generator.", required=True
      ),
      cli.path_flag("language_dir", None, "Its templates."),
      flags.DEFINE_integer("scenes", 2000, "Scenes to make."),
      flags.DEFINE_integer("seed", 0, "Seed of the scenes to make."),
    ],
  )
