"""A training that fits into a time: how long it is, once one knows how fast.

A trial at the start tells how long an update and an evaluation take. Where the
whole would take longer than config.train.max_minutes, all of it is made shorter
in the same proportion, so that stages, warm-up and fall of the learning rate
stay what they are. Checkpoints keep what was decided.
"""

import contextlib
import datetime
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
from absl import logging
from flax.traverse_util import flatten_dict

from rn_jax import checkpoint_format as fmt
from rn_jax import parallel
from rn_jax.checkpoint_errors import CheckpointError
from rn_jax.data import input_pipeline
from rn_jax.data.curriculum import shorten_stage
from rn_jax.data.dataset import Dataset
from rn_jax.evaluate import Predictor
from rn_jax.models import RelationNetwork
from rn_jax.plan import Plan, make_plan
from rn_jax.settings import LENGTHS, PATIENCE, STAGES, read_config, resolve

# Of the time: what the trial may take, and what updates and evaluations may.
# The rest is for checkpoints, log lines and plots.
_TRIAL, _USED = 0.02, 0.95
_LONGEST_TRIAL = 20.0  # seconds
# Of what is left for them: what evaluations may take, but for the first and
# the last, where a training is made shorter.
_EVALUATING = 0.1


class Pace(NamedTuple):
  """What a trial found.

  Attributes:
    questions_per_second: In training.
    evaluation: Seconds of one evaluation.
    compiling: Seconds before the first update.
  """

  questions_per_second: float
  evaluation: float
  compiling: float


def decided(
  checkpoints: Path, config: ml_collections.ConfigDict, workdir: Path
) -> ml_collections.ConfigDict | None:
  """Returns the config with the lengths of the run that a folder holds.

  Args:
    checkpoints: The run's, if there is one.
    config: As the user has it.
    workdir: The run's folder, for the error.

  Returns:
    None if there is no run.

  Raises:
    CheckpointError: Its length was decided otherwise.
  """
  for step in sorted(fmt.list_steps(checkpoints), reverse=True):
    try:
      saved = read_config(fmt.read_meta(checkpoints / str(step))["config"])
    except CheckpointError:
      continue  # damaged; all say the same
    limit = config.train.max_minutes
    if saved.train.max_minutes != limit:
      raise CheckpointError(
        f"{workdir} holds a run that was planned with config.train.max_minutes="
        f"{saved.train.max_minutes}, not {limit}: set it back, or start anew "
        "in another folder"
      )
    keys = flatten_dict(saved.to_dict(), sep=".")
    logging.info(
      "%s was planned for config.train.max_minutes=%g: its %.3g epochs, "
      "evaluations, stages and schedule stay as they are",
      workdir,
      limit,
      saved.train.num_epochs,
    )
    return _with(config, {k: keys[k] for k in (*LENGTHS, PATIENCE, STAGES)})
  return None


def decide(
  config: ml_collections.ConfigDict,
  model: RelationNetwork,
  dataset: Dataset,
  predict: Predictor,
  started: float,
) -> ml_collections.ConfigDict:
  """Returns the config with the lengths that a run shall have.

  Args:
    config: As the user has it.
    model: Its network.
    dataset: The training split.
    predict: Answers the validation split.
    started: When the time began, by time.monotonic().

  Raises:
    ValueError: The config is unusable, or its time too short.
  """
  make_plan(config, model, dataset)  # a mistake is found before the trial
  # Stages have questions that are shorter, and large batches are faster.
  mixture = read_config(
    config.to_dict(), {STAGES: (), "train.double_batch_every": 0.0}
  )
  plan = make_plan(mixture, model, dataset)
  pace = measure(mixture, plan, dataset, predict)
  spent = parallel.agree(time.monotonic() - started)
  return fit(config, pace, plan.order.questions(plan.num_steps), spent)


def measure(
  config: ml_collections.ConfigDict,
  plan: Plan,
  dataset: Dataset,
  predict: Predictor,
) -> Pace:
  """Makes the first updates of a plan and evaluates a little, as a trial.

  Returns:
    What process 0 found, on all.
  """
  seconds = min(_TRIAL * 60 * config.train.max_minutes, _LONGEST_TRIAL)
  size = resolve(config).train.updates_per_call
  update = parallel.pmap_train_step(parallel.several_updates(plan.step))
  feed = input_pipeline.Feed(dataset, config.data.on_device)
  state = parallel.replicate(jax.jit(plan.fresh_state)())
  endless = input_pipeline.plan_calls(range(10**9), size, lambda _: False)
  batches = input_pipeline.read_ahead(feed, plan.order, endless)

  def run(calls: int) -> float:
    """Returns the seconds of some calls, made as training makes them."""
    nonlocal state
    metrics, started = None, time.monotonic()
    for _ in range(calls):
      state, metrics = update(state, feed.tables, next(batches))
    jax.block_until_ready(metrics)
    return parallel.agree(time.monotonic() - started)

  with contextlib.closing(batches):
    compiling = run(1)
    # The first are slower. Twice as many each time, all of them together do not
    # take longer than `seconds`, and the last of them a quarter at least.
    calls, took = 1, 0.0
    while not took or (took < seconds / 4 and calls * size < plan.num_steps):
      calls *= 2
      took = run(calls)
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  pace = Pace(
    plan.order.questions(size * calls) / took,
    _evaluation_seconds(predict, variables),
    compiling,
  )
  return Pace(*map(parallel.agree, pace))


class _EnoughError(Exception):
  """The trial has seen what an evaluation takes."""


def _evaluation_seconds(predict: Predictor, variables: dict) -> float:
  """Returns the seconds of a whole evaluation, from some of its batches."""

  def answer(seconds: float) -> float:
    """Answers batches for so long, at least one; returns the time of one."""
    started, batches = time.monotonic(), 0

    def between():
      nonlocal batches
      batches += 1
      if parallel.agree(time.monotonic() - started >= seconds):
        raise _EnoughError

    with contextlib.suppress(_EnoughError):
      predict(variables, between)
    return (time.monotonic() - started) / batches

  answer(0.0)  # which waits for the compiler
  return answer(2.0) * predict.num_batches


def fit(
  config: ml_collections.ConfigDict,
  pace: Pace,
  num_questions: int,
  spent: float,
) -> ml_collections.ConfigDict:
  """Returns a config whose training ends in time.

  Args:
    config: Of the run; config.train.max_minutes is the time.
    pace: What a trial found.
    num_questions: What all epochs of it read.
    spent: Seconds of the time that are over.

  Raises:
    ValueError: There is no time for any.
  """
  train = config.train
  left = _USED * 60 * train.max_minutes - spent - pace.compiling
  left -= pace.evaluation  # of the fresh network
  evaluations = math.ceil(train.num_epochs / train.eval_every)
  seconds = num_questions / pace.questions_per_second
  logging.info(
    "A trial read %.0f questions/s: %g epochs take %s and %d evaluations %s, "
    "and there are %s",
    pace.questions_per_second,
    train.num_epochs,
    _clock(seconds),
    evaluations,
    _clock(evaluations * pace.evaluation),
    _clock(left),
  )
  if seconds + evaluations * pace.evaluation <= left:
    return config
  most = int(_EVALUATING * left / max(pace.evaluation, 1e-6))
  evaluations = max(1, min(evaluations, most))
  left -= evaluations * pace.evaluation
  if left <= 0:
    raise ValueError(
      f"config.train.max_minutes={train.max_minutes:g} leaves no time for "
      f"training: reading the data, a trial and compiling take "
      f"{spent + pace.compiling:.0f} s, and an evaluation "
      f"{pace.evaluation:.1f} s; allow more minutes"
    )
  shorter = shorten(config, min(1.0, left / seconds), evaluations)
  logging.info(
    "So the training has %.3g epochs and %d evaluations, and its stages and "
    "schedule are %.3g of what they were",
    shorter.train.num_epochs,
    evaluations,
    shorter.train.num_epochs / train.num_epochs,
  )
  return shorter


def _clock(seconds: float) -> datetime.timedelta:
  return datetime.timedelta(seconds=max(0, round(seconds)))


def shorten(
  config: ml_collections.ConfigDict, part: float, evaluations: int
) -> ml_collections.ConfigDict:
  """Returns a config whose training is `part`, 0 to 1, as long.

  With so many evaluations, that of the fresh network not counted.
  """
  keys: dict[str, Any] = flatten_dict(config.to_dict(), sep=".")
  lengths: dict[str, Any] = {key: keys[key] * part for key in LENGTHS}
  lengths["train.eval_every"] = lengths["train.num_epochs"] / evaluations
  before = max(1.0, keys["train.num_epochs"] / keys["train.eval_every"])
  lengths[PATIENCE] = max(1, round(keys[PATIENCE] * evaluations / before))
  stages = [shorten_stage(stage, part) for stage in config.data.curriculum]
  return _with(config, lengths | {STAGES: stages})


def _with(
  config: ml_collections.ConfigDict, lengths: dict[str, Any]
) -> ml_collections.ConfigDict:
  stages = tuple(lengths[STAGES])
  return read_config(config.to_dict(), lengths | {STAGES: stages})
