"""Exact evaluation and prediction with a network in memory or on disk."""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from rn_jax import checkpoint, metrics, parallel
from rn_jax.data import input_pipeline
from rn_jax.data.dataset import Dataset, load_dataset
from rn_jax.data.epochs import group_questions
from rn_jax.data.own_questions import OwnQuestions, ask_records
from rn_jax.data.scene_files import ask_files
from rn_jax.data.vocabulary import answer_classes
from rn_jax.host.paths import place
from rn_jax.host.progress import progress_bar
from rn_jax.plots import run_plots
from rn_jax.run_log import write_json
from rn_jax.settings import read_config
from rn_jax.steps import make_model, make_predict_step


class Predictor:
  """Answers every question of a split, once.

  The compiled step and the split in device memory are kept between calls.

  Attributes:
    num_batches: In which it is answered.
  """

  def __init__(
    self, model, dataset: Dataset, config: ml_collections.ConfigDict
  ):
    """Prepares a split.

    Args:
      model: The RelationNetwork.
      dataset: The split.
      config: The whole config; `eval.batch_size` and `data.on_device` count.
    """
    devices = jax.device_count()
    size = -(-config.eval.batch_size // devices) * devices
    self._dataset = dataset
    self._feed = input_pipeline.Feed(dataset, config.data.on_device)
    self._step = parallel.pmap_predict_step(make_predict_step(model))
    groups = group_questions(
      dataset.questions["scene"],
      input_pipeline.EVALUATION_QUESTIONS_PER_SCENE,
    )
    self.num_batches = -(-len(groups) // size)
    self._groups = np.full((self.num_batches, size, groups.shape[1]), -1)
    self._groups.reshape(-1, groups.shape[1])[: len(groups)] = groups

  def __call__(
    self, variables: dict, between: Callable[[], None] = lambda: None
  ) -> dict[str, np.ndarray]:
    """Answers the split.

    Args:
      variables: {"params", "batch_stats"}.
      between: Called after each batch; what it raises ends the evaluation.

    Returns:
      `answer` (zero-based id), its `probability` and the `loss` (nats) of the
      true one, each [Q], in the order of the dataset's questions.
    """
    results = {}
    seen = np.zeros(self._dataset.num_questions, np.int32)
    batches = input_pipeline.prefetch(self._feed.batch, self._groups)
    progress = progress_bar(
      batches,
      total=len(self._groups),
      desc=f"answering {self._dataset.split}",
      unit=" batches",
      disable=jax.process_index() > 0 or None,
    )

    def collect(groups, predictions):
      live = groups >= 0
      seen[groups[live]] += 1
      for name, values in jax.device_get(predictions).items():
        if name not in results:
          results[name] = np.zeros(len(seen), values.dtype)
        results[name][groups[live]] = values[live]

    waiting = None  # fetched a batch late, so that the device need not wait
    with contextlib.closing(batches), progress:
      for groups, batch in zip(self._groups, progress, strict=True):
        predictions = self._step(variables, self._feed.tables, batch)
        if waiting is not None:
          collect(*waiting)
        waiting = groups, predictions
        between()
    assert waiting is not None  # a split has questions
    collect(*waiting)
    if not (seen == 1).all():
      raise AssertionError("a question was left out or answered twice")
    return results


def check_answers(dataset: Dataset) -> None:
  """Raises ValueError unless every question of a split has its answer."""
  if (dataset.questions["answer"] < 0).any():
    raise ValueError(
      f"split {dataset.split!r} has questions without an answer, as CLEVR's "
      "test split does; all one can do with it is --mode=predict"
    )


def score(dataset: Dataset, predictions: dict[str, np.ndarray]) -> dict:
  """Returns the content of eval_<split>.json; see metrics.py."""
  return metrics.evaluate_predictions(
    predictions["answer"],
    dataset.questions["answer"],
    predictions["loss"],
    dataset.answers,
    dataset.questions["question_type"],
    dataset.questions["function"],
    dataset.family,
    answer_classes(dataset.vocabulary),
  )


def load_network(
  path: str | os.PathLike, overrides: Mapping[str, Any] | None = None
) -> tuple[dict, ml_collections.ConfigDict, dict]:
  """Loads a network and the config it was made with.

  Args:
    path: A workdir, its checkpoints folder, or the folder of one step.
    overrides: Values to put into that config, by dotted key ("data.dir").

  Returns:
    Variables {"params", "batch_stats"}, config and vocabulary.

  Raises:
    CheckpointError: There is no usable checkpoint.
    ValueError: It is of a network that is asked nothing.
  """
  variables, meta = checkpoint.load_model(path)
  check_answers_questions(meta, path)
  return variables, read_config(meta["config"], overrides), meta["vocabulary"]


def check_answers_questions(meta: dict, path: str | os.PathLike) -> None:
  """Raises ValueError where a checkpoint's network is asked nothing."""
  if "questions" not in meta["vocabulary"]:
    raise ValueError(
      f"{path} holds a network that answers no questions; --mode=extract "
      "describes images with it"
    )


def check_vocabulary(dataset: Dataset, vocabulary: dict, where: str) -> None:
  """Raises ValueError unless data and network number words the same way."""
  for part in ("questions", "answers"):
    if dataset.vocabulary[part] != vocabulary[part]:
      mine, theirs = dataset.vocabulary[part], vocabulary[part]
      raise ValueError(
        f"the records and {where} number {part} differently "
        f"({len(mine)} and {len(theirs)} entries, for example "
        f"{_first_difference(mine, theirs)}); convert the data with "
        "--vocabulary=FILE, the vocabulary.json the network was trained with"
      )


def _first_difference(a: dict, b: dict) -> str:
  name = next(k for k in {**a, **b} if a.get(k) != b.get(k))
  return f"{name!r}: {a.get(name)} and {b.get(name)}"


def predict_split(
  path: str | os.PathLike,
  split: str,
  overrides: dict[str, Any] | None = None,
  *,
  with_answers: bool = False,
  own: OwnQuestions | None = None,
) -> tuple[Dataset, dict[str, np.ndarray]]:
  """Loads a network (see load_network) and answers a split with it.

  Args:
    path: See load_network.
    split: Name of the split; of no account where `own` names `images`.
    overrides: See load_network.
    with_answers: Whether each question must have its answer.
    own: Questions to ask in place of the split's own.

  Raises:
    ValueError: The split has another vocabulary than the network, or, if
      with_answers asks for them, no answers.
  """
  variables, config, vocabulary = load_network(path, overrides)
  inputs = config.model.inputs
  if own is not None:
    own = own._replace(with_answers=with_answers)
  if own is not None and own.images:
    dataset = ask_files(own, config.data, inputs, vocabulary)
  else:
    dataset = load_dataset(config.data, inputs, split)
    check_vocabulary(dataset, vocabulary, str(path))
    if own is not None:
      dataset = ask_records(own, dataset, config.data)
    elif with_answers:
      check_answers(dataset)
  model = make_model(
    config, len(vocabulary["questions"]), len(vocabulary["answers"])
  )
  predictor = Predictor(model, dataset, config)
  return dataset, predictor(parallel.replicate(variables))


def evaluate_command(
  path: str | os.PathLike,
  workdir: Path,
  split: str,
  overrides: dict[str, Any],
  own: OwnQuestions | None = None,
) -> list[str | Path]:
  """Does what `launch.py --mode=evaluate` does, and returns what it prints."""
  dataset, predictions = predict_split(
    path, split, overrides, with_answers=True, own=own
  )
  result = score(dataset, predictions)
  if dataset.from_file is not None:
    result["skipped_questions"] = dataset.from_file.num_skipped
  else:
    result["data_sha256"] = dataset.sha256
    result |= of_the_training(workdir, dataset.split, result)
  path = write_evaluation(workdir, result, dataset.split)
  lines = [metrics.format_report(result), path]
  if jax.process_index() == 0:
    lines.append(run_plots.plot_confusion(workdir, result, dataset.split))
  return lines + what_was_skipped(dataset)


def of_the_training(workdir: Path, split: str, result: dict) -> dict:
  """Returns what only a training measures of a split, if it has.

  That is the accuracy without the scenes, which needs the training questions;
  of the same questions.
  """
  try:
    before = run_plots.read_evaluation(workdir / f"eval_{split}.json")
  except (OSError, ValueError):
    return {}
  name = "question_only_accuracy"
  # Earlier versions did not write the hash.
  same = all(
    before.get(key, result[key]) == result[key]
    for key in ("num_examples", "data_sha256")
  )
  return {name: before[name]} if same and name in before else {}


def what_was_skipped(dataset: Dataset) -> list[str]:
  """Returns a line on what was left out of a file of questions, if anything."""
  own = dataset.from_file
  if own is None or not own.num_skipped:
    return []
  words = sorted(own.unknown_words.items(), key=lambda item: -item[1])
  named = ", ".join(f"{word!r} ({count:,})" for word, count in words[:8])
  rest = f" and {len(words) - 8:,} more words" if len(words) > 8 else ""
  total = own.num_skipped + dataset.num_questions
  return [
    f"Skipped {own.num_skipped:,} of the {total:,} questions of {own.path}, "
    f"for the network does not know {named}{rest}"
  ]


def results_folder(checkpoint: str | os.PathLike) -> Path:
  """Returns where results of a checkpoint go, if nobody says: to its run.

  Those of one step, which need not be the run's best, get a folder there.
  """
  path, step = place(checkpoint), None
  if (path / "checkpoints").is_dir():
    return path  # whatever its name
  if path.name.isdigit():
    path, step = path.parent, path.name
  run = path.parent if path.name == "checkpoints" else path
  return run if step is None else run / f"step_{step}"


def write_evaluation(workdir: Path, result: dict, split: str) -> Path:
  """Writes eval_<split>.json and returns its path."""
  path = workdir / f"eval_{split}.json"
  if jax.process_index() == 0:
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
  return path
