"""Predictions for people and for CLEVR's server."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rn_jax.data.dataset import Dataset
from rn_jax.data.own_questions import OwnQuestions
from rn_jax.evaluate import predict_split, what_was_skipped
from rn_jax.host.atomic import replacing


def predict_command(
  path: str | os.PathLike,
  workdir: Path,
  split: str,
  overrides: dict[str, Any],
  own: OwnQuestions | None = None,
) -> list[str | Path]:
  """Does what `launch.py --mode=predict` does, and returns what it prints."""
  dataset, predictions = predict_split(path, split, overrides, own=own)
  paths = write_predictions(workdir, dataset, predictions)
  return [*paths, *what_was_skipped(dataset)]


def write_predictions(
  workdir: Path, dataset: Dataset, predictions: dict[str, np.ndarray]
) -> list[Path]:
  """Writes the predictions of a split, in the order of its questions file.

  `predictions_<split>.jsonl` has a line per question: `question_index`,
  `image_filename`, `prediction`, `probability`, and the true `answer` where
  it is known. `submission_<split>.txt` is CLEVR's submission: one answer a
  line. There is none where questions were skipped, for its lines would be
  those of other questions.

  Returns:
    The paths.
  """
  questions, answers = dataset.questions, dataset.answers
  true_answers = [*answers, None, None]  # -2 and -1: unknown, not published
  own = dataset.from_file
  lines = []
  rows = range(dataset.num_questions)
  if own is None:
    rows = np.argsort(questions["question_index"], kind="stable")
  for row in rows:
    line = {
      "question_index": int(questions["question_index"][row]),
      "image_filename": str(dataset.image_filename[questions["scene"][row]]),
      "prediction": answers[predictions["answer"][row]],
      "probability": round(float(predictions["probability"][row]), 6),
    }
    answer = true_answers[questions["answer"][row]]
    if own is not None:
      answer = own.unknown_answers.get(row, answer)
    if answer is not None:
      line["answer"] = answer
    lines.append(line)
  texts = [json.dumps(line) for line in lines]
  content = {f"predictions_{dataset.split}.jsonl": texts}
  if own is None or not own.num_skipped:
    texts = [line["prediction"] for line in lines]
    content[f"submission_{dataset.split}.txt"] = texts
  if jax.process_index() == 0:
    workdir.mkdir(parents=True, exist_ok=True)
    for name, texts in content.items():
      with replacing(workdir / name) as temporary:
        temporary.write_text("\n".join(texts) + "\n")
  return [workdir / name for name in content]
