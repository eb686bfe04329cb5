r"""Makes a network that can be given away of a run: its weights and a card.

    python -m rn_jax.publish --workdir=RUN --output=pretrained/NAME \
        --evaluation="generated val"=RUN/eval_val.json --notes=NOTES.md

writes the best checkpoint without the optimizer's state, about a third of its
size, for `launch.py --checkpoint=pretrained/NAME`; the curves; and README.md,
the card, with settings, time and accuracies as they stand in the run's files.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import jax
import ml_collections
import numpy as np
from absl import flags
from flax.traverse_util import flatten_dict

from rn_jax.checkpoint import load_model, write_model
from rn_jax.default_config import get_config
from rn_jax.evaluate import check_answers_questions
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.paths import local_path
from rn_jax.plots import curves
from rn_jax.plots.run_plots import read_evaluation, read_metrics
from rn_jax.run_log import quiet_backends
from rn_jax.run_series import (
  questions_between,
  questions_read,
  seconds_between,
)
from rn_jax.settings import read_config

# What belongs to the machine of the run, not to the network.
_NOT_SETTINGS = (
  "data.dir",
  "data.cache",
  "data.on_device",
  "generate.language_dir",
  "train.init_from",
)


def publish(
  workdir: str | os.PathLike,
  output: str | os.PathLike,
  evaluations: Mapping[str, str | os.PathLike],
  notes: str = "",
) -> Path:
  """Writes the network of a run, and its card.

  Args:
    workdir: Folder of the run.
    output: Folder to make.
    evaluations: Files that `--mode=evaluate` wrote, by the name that the card
      gives to what they were measured on.
    notes: Markdown for the card: what the data are, what the network cannot do.

  Returns:
    The card.

  Raises:
    CheckpointError: There is no usable checkpoint, or `output` has one already.
    ValueError, OSError: A file of the run cannot be read, or its network
      answers no questions.
  """
  workdir, output = Path(local_path(workdir)), Path(local_path(output))
  variables, meta = load_model(workdir)
  check_answers_questions(meta, workdir)
  scores = {
    name: read_evaluation(Path(local_path(path)))
    for name, path in evaluations.items()
  }
  series = read_metrics(workdir / "metrics.jsonl")
  config = read_config(meta["config"])
  card = _card(output, config, meta, series, scores, variables, notes)
  blind = [score.get("question_only_accuracy") for score in scores.values()]
  figure = curves.draw_accuracy(
    series, next((rate for rate in blind if rate is not None), None)
  )
  # Paths of another machine.
  config.data.dir = config.train.init_from = config.generate.language_dir = ""
  write_model(
    output / "checkpoints",
    variables,
    config=config.to_dict(),
    vocabulary=meta["vocabulary"],
    metrics=meta["metrics"],
    step=meta["step"],
  )
  for path in output.rglob("commit_success.txt"):
    path.write_text("")  # orbax had written the folder's place
  with replacing(output / "accuracy.png") as temporary:
    figure.savefig(temporary, format="png", dpi=80)
  with replacing(output / "README.md") as temporary:
    temporary.write_text(card)
  return output / "README.md"


def _card(
  output: Path,
  config: ml_collections.ConfigDict,
  meta: dict,
  series: dict,
  scores: dict[str, dict],
  variables: dict,
  notes: str,
) -> str:
  number = sum(x.size for x in jax.tree.leaves(variables["params"]))
  size, best = config.train.batch_size, np.array(meta["step"])
  questions = int(questions_read(series, size, best))
  seconds = seconds_between(series, questions_between(series, size)).sum()
  hashes = meta["hashes"]["model"]
  inputs = config.model.inputs
  read = {"pixels": "pictures", "states": "descriptions of scenes"}
  asked = {"pixels": "PICTURE.png", "states": "SCENE.json"}
  where = output.name if output.is_absolute() else output.as_posix()
  lines = [
    f"# {output.name}",
    "",
    f"A Relation Network with {number:,} parameters that reads",
    f"{read[inputs]}, trained with rn_jax {meta['rn_jax_version']}.",
    "",
    "```bash",
    f"python launch.py --mode=ask --checkpoint={where} "
    f'--image={asked[inputs]} --question="How many cubes are there?"',
    "```",
    "",
    *([notes.strip(), ""] if notes.strip() else []),
    *(["## Accuracy", "", *_table(scores), ""] if scores else []),
    "## Training",
    "",
    f"Best after {meta['step']:,} updates, when {questions:,} questions had",
    f"been read. All updates of the run took "
    f"{seconds:,.0f} s. What differs from",
    "the defaults:",
    "",
    "| setting | value |",
    "|---|---|",
    *(f"| `{key}` | `{value}` |" for key, value in _settings(config)),
    "",
    "![Accuracy over the epochs](accuracy.png)",
    "",
    "The weights' SHA-256, checked whenever they are read:",
    f"`{hashes}`",
    "",
  ]
  return "\n".join(lines)


def _settings(config: ml_collections.ConfigDict) -> list[tuple[str, object]]:
  mine, defaults = (
    flatten_dict(c.to_dict(), sep=".") for c in (config, get_config())
  )
  return [
    (key, value)
    for key, value in mine.items()
    if key in defaults
    and key not in _NOT_SETTINGS
    and json.dumps(value) != json.dumps(defaults[key])
  ]


def _table(scores: dict[str, dict]) -> list[str]:
  """Returns the accuracies by kind, a column for each evaluation."""
  rows = [("**all**", [_percent(s) for s in scores.values()])]
  for part, title in (
    ("by_question_type", "type"),
    ("by_template", "template file"),
    ("by_answer_class", "answer"),
  ):
    names = {name: None for s in scores.values() for name in s.get(part, {})}
    for name in names:
      entries = [s.get(part, {}).get(name, {}) for s in scores.values()]
      rows.append((f"{title}: {name}", [_percent(e) for e in entries]))
  counts = [f"{s['num_examples']:,}" for s in scores.values()]
  rows.append(("questions", counts))
  return [
    "| per cent right | " + " | ".join(scores) + " |",
    "|---|" + "---|" * len(scores),
    *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows),
  ]


def _percent(entry: dict) -> str:
  rate = entry.get("accuracy")
  return "–" if rate is None else f"{100 * rate:.1f}"


def _main(
  workdir: str, output: str, evaluation: list[str], notes: str | None
) -> None:
  quiet_backends()
  named = {}
  for item in evaluation:
    name, _, path = item.partition("=")
    if not name or not path or name in named:
      raise ValueError(
        f"--evaluation={item}: must be NAME=FILE, each with a name of its own"
      )
    named[name] = path
  text = Path(notes).read_text() if notes else ""
  print(publish(workdir, output, named, text))


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag("workdir", None, "Folder of the run.", required=True),
    cli.path_flag("output", None, "Folder to make.", required=True),
    flags.DEFINE_multi_string(
      "evaluation",
      [],
      "NAME=FILE: what the card calls it, and the eval_<split>.json of it; may "
      "be given several times.",
    ),
    cli.path_flag("notes", None, "Markdown file to take into the card."),
  )
