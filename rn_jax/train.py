"""Training: from a config and records to checkpoints and metrics."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import jax
import ml_collections
import numpy as np
from absl import logging

from rn_jax import (
  answer,
  evaluate,
  metrics,
  pace,
  parallel,
  run_log,
  warm_start,
)
from rn_jax.checkpoint import Checkpointer
from rn_jax.config_checks import check_training
from rn_jax.data.dataset import WHOLE, Dataset, Share, load_dataset
from rn_jax.data.records import read_split
from rn_jax.data.spelling import spell, write_scene
from rn_jax.host.mirror import mirrored
from rn_jax.host.paths import is_address, place
from rn_jax.loop import Run
from rn_jax.plan import make_plan
from rn_jax.plots import first_batch, run_plots
from rn_jax.resuming import alone, restore
from rn_jax.settings import resolve
from rn_jax.steps import make_model


def train(config: ml_collections.ConfigDict, workdir: Path) -> dict:
  """Trains a network, or goes on where a stopped run left off.

  Args:
    config: The experiment; see configs/common.py.
    workdir: Folder of the run: config.json, checkpoints, metrics.jsonl,
      TensorBoard events, and in the end eval_<split>.json and plots. Of an
      object store, one works on a copy, which is sent with each checkpoint.

  Returns:
    The evaluation of the best checkpoint; see metrics.py.

  Raises:
    SystemExit: SIGTERM or SIGINT arrived; the state is saved.
    FloatingPointError: The loss or a norm is no longer finite; the last
      checkpoint from before is kept.
    BusyError: Another run trains in `workdir`.
    ValueError, RecordError, CheckpointError: The config, the data or the
      checkpoints do not fit together; or several processes shall write to an
      object store.
  """
  workdir = place(workdir)
  check(config, workdir)  # a mistake is found before anything is written
  in_store = is_address(workdir)
  if in_store and jax.process_count() > 1:
    raise ValueError(
      f"{workdir}: several processes need a folder that all of them see, such "
      "as a network file system; name one as workdir"
    )
  with alone(workdir), mirrored(workdir) as (folder, push):
    # What is called after a checkpoint waits for it, which a disk need not.
    return _train(config, folder, workdir, push if in_store else None)


def check(config: ml_collections.ConfigDict, workdir: Path) -> None:
  """Finds mistakes in a config before there are data to train with.

  Args:
    config: The experiment.
    workdir: Folder of the run, whether it has begun or not.

  Raises:
    ValueError, CheckpointError: See train.
  """
  check_training(config)
  resolve(config)
  if not (workdir / "checkpoints").is_dir():  # a run that goes on needs none
    warm_start.check(config)


def _train(
  config: ml_collections.ConfigDict,
  workdir: Path,
  named: Path,
  saved: Callable[[], None] | None,
) -> dict:
  """Trains in `workdir`, which people know as `named`."""
  started = time.monotonic()
  workdir.mkdir(parents=True, exist_ok=True)
  data = config.data
  per_step = config.train.batch_size // data.questions_per_scene
  parallel.check_divides(
    per_step,
    f"config.train.batch_size={config.train.batch_size} with "
    f"config.data.questions_per_scene={data.questions_per_scene}",
  )
  share = WHOLE
  if data.own_shards:
    share = Share(jax.process_index(), jax.process_count())
  for split in data.train_split, data.eval_split:
    read_split(data.dir, split)  # before the first of them is read, for minutes
  inputs = config.model.inputs
  dataset = load_dataset(data, inputs, data.train_split, share)
  validation = load_dataset(data, inputs, data.eval_split)
  for part in (dataset, validation):
    evaluate.check_answers(part)
  vocabulary = dataset.vocabulary
  model = make_model(
    config, len(vocabulary["questions"]), len(vocabulary["answers"])
  )
  predict = evaluate.Predictor(model, validation, config)
  if config.train.max_minutes is not None:
    decided = pace.decided(workdir / "checkpoints", config, named)
    config = decided or pace.decide(config, model, dataset, predict, started)
  plan = make_plan(config, model, dataset)
  like = jax.eval_shape(plan.fresh_state)
  logging.info("Parameters:\n%s", run_log.parameter_table(like.params))
  with Checkpointer(workdir / "checkpoints") as checkpointer:
    order = plan.order
    state = restore(checkpointer, like, config, dataset, order, named)
    if state is None:
      state = jax.jit(plan.fresh_state)()
      if config.train.init_from:
        state = warm_start.warm_start(state, config, vocabulary)
    if jax.process_index() == 0:
      run_log.write_config(workdir, config)
      first_batch.draw(workdir / "first_batch.png", dataset, order(0), config)
    with run_log.MetricsLog(workdir, int(state.step)) as log:
      run = Run(
        config=config,
        dataset=dataset,
        order=order,
        num_steps=plan.num_steps,
        step=plan.step,
        score=lambda *args: evaluate.score(validation, predict(*args)),
        checkpointer=checkpointer,
        log=log,
        saved=saved,
      )
      run.fit(state)
    result = run.best_scores(workdir)

  result["data_sha256"] = validation.sha256
  result["question_only_accuracy"] = _question_only(dataset, validation)
  path = evaluate.write_evaluation(workdir, result, validation.split)
  if jax.process_index() == 0:
    logging.info("%s\n%s", named / path.name, metrics.format_report(result))
    logging.info(
      "accuracy %.1f %%; without looking at the scenes %.1f %%",
      100 * result["accuracy"],
      100 * result["question_only_accuracy"],
    )
    run_plots.plot_workdir(workdir)
  # Several would have to load it together, and a picture must be a file.
  if jax.process_count() == 1 and workdir == named:
    _ask_example(workdir, validation)
  return result


def _ask_example(workdir: Path, validation: Dataset) -> None:
  """Asks the network the first validation question, as a user would."""
  questions = validation.questions
  row = int(np.argmin(questions["question_index"]))
  question = spell(
    validation.vocabulary,
    questions["question"][row],
    questions["question_length"][row],
  )
  question = re.sub(r" (?=[?;,.])", "", question)  # as people write
  scene = write_scene(
    validation, int(questions["scene"][row]), workdir / "example"
  )
  logging.info(
    "Ask it yourself:\n\n"
    '  python launch.py --mode=ask --workdir=%s --image=%s --question="%s"\n\n'
    "%s\n\nThe right answer is %r.",
    workdir,
    scene,
    question,
    answer.ask_command(workdir, scene, question),
    validation.answers[questions["answer"][row]],
  )


def _question_only(dataset: Dataset, validation: Dataset) -> float:
  def asked(of: Dataset) -> tuple[np.ndarray, ...]:
    q = of.questions
    return q["question"], q["function"], q["answer"], of.family

  return metrics.question_only_accuracy(*asked(dataset), *asked(validation))
