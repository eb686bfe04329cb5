"""The loop of updates, from one checkpoint to the next."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import ml_collections
import numpy as np
from absl import logging

from rn_jax import parallel, run_log
from rn_jax.checkpoint import Checkpointer, load_model
from rn_jax.data import input_pipeline
from rn_jax.data.dataset import Dataset
from rn_jax.data.train_order import TrainOrder
from rn_jax.host.signals import StopSignals
from rn_jax.plateau import after_evaluation
from rn_jax.settings import resolve
from rn_jax.train_state import TrainState


@dataclasses.dataclass
class Run:
  """The training loop and what it works with.

  Attributes:
    dataset: The training split.
    step: One update of one device, as of make_train_step.
    score: From variables to scores on the validation split: rates, of which
      `accuracy` decides what is best, and tables. A second argument is called
      after each batch, and may raise.
    unit: What a batch consists of.
    scored: The step and the scores of the last evaluation.
    saved: Called when a checkpoint is on the disk, which is then waited for.
  """

  config: ml_collections.ConfigDict
  dataset: Dataset
  order: TrainOrder
  num_steps: int
  step: Callable
  score: Callable[..., dict]
  checkpointer: Checkpointer
  log: run_log.MetricsLog
  unit: str = "questions"
  scored: tuple[int, dict] | None = None
  saved: Callable[[], object] | None = None

  def fit(self, state: TrainState) -> None:
    """Runs all updates that are left."""
    train = self.config.train
    updates = resolve(self.config).train.updates_per_call
    step = parallel.pmap_train_step(parallel.several_updates(self.step))
    state = parallel.replicate(state)
    start = int(state.step)
    pending: list[dict] = []
    feed = input_pipeline.Feed(self.dataset, self.config.data.on_device)
    batches = input_pipeline.read_ahead(
      feed, self.order, self._calls(start, updates)
    )
    with StopSignals() as signals, contextlib.closing(batches):
      # The level of a fresh network, where every curve begins; or what a
      # signal has cut short.
      due = start == 0 or self._evaluation_due(start)
      if due and not self.checkpointer.is_scored(start):
        exit_code = self._evaluate_and_save(start, state, signals)
        self._stop_if(exit_code, start, state)
        state = self._after_evaluation(state)
      progress = run_log.Progress(
        start, self.num_steps, self.order.questions, self.unit
      )
      saved_at = time.monotonic()
      for steps in self._calls(start, updates):
        with progress.waiting():
          batch = next(batches)
        state, step_metrics = step(state, feed.tables, batch)
        if pending:
          # Else calls pile up, and a signal has to wait for all of them.
          jax.block_until_ready(pending[-1])
        pending.append(step_metrics)
        done = steps.stop
        exit_code = signals.exit_code(done)
        evaluation_due = self._evaluation_due(done)
        log_due = self._log_due(done)
        if log_due or evaluation_due or exit_code is not None:
          # Waiting for the metrics only here keeps the device busy between.
          values = self._fetch(done, pending)
          pending.clear()
          summary = self._summarize(done, values)
          summary |= progress.report(done, self._epoch(done), summary)
          self._write(done, "train", summary)
          if self.order.observe(
            done, values["accuracy"], decide=log_due, notice=4 * updates
          ):
            logging.info(
              "Accuracy is high enough: the stage ends after update %d",
              self.order.ends[self.order.stage(done)],
            )
        minutes = (time.monotonic() - saved_at) / 60
        save_due = log_due and parallel.agree(
          minutes >= train.checkpoint_minutes
        )
        if evaluation_due and exit_code is None:
          started = time.monotonic()
          exit_code = self._evaluate_and_save(done, state, signals)
          if exit_code is None:
            state = self._after_evaluation(state)
          progress.pause(time.monotonic() - started)
        elif save_due:
          self._save(state, None)
        if evaluation_due or save_due:
          saved_at = time.monotonic()
        self._stop_if(exit_code, done, state)

  def _stop_if(
    self, exit_code: int | None, done: int, state: TrainState
  ) -> None:
    """Saves and ends the run if a signal asks for it."""
    if exit_code is None:
      return
    self._save(state, None)
    self.checkpointer.wait()
    logging.warning(
      "Stopped by a signal after update %d, which is saved; the same command "
      "resumes the run",
      done,
    )
    raise SystemExit(exit_code)

  def best_scores(self, folder: Path) -> dict:
    """Returns the scores of the best checkpoint, once all are on the disk."""
    self.checkpointer.wait()
    variables, meta = load_model(folder)
    if self.scored is not None and self.scored[0] == meta["step"]:
      return self.scored[1]  # the last is the best
    logging.info("Evaluating the best checkpoint, of step %d", meta["step"])
    return self.score(parallel.replicate(variables))

  def _calls(self, start: int, updates: int) -> Iterator[range]:
    return input_pipeline.plan_calls(
      range(start, self.num_steps),
      updates,
      lambda done: self._log_due(done) or self._evaluation_due(done),
    )

  def _log_due(self, done: int) -> bool:
    # A line is about batches of one size, as a call has to be.
    due = done % self.config.train.log_every == 0
    return due or self.order.size_changes(done)

  def _epoch(self, done: int) -> float:
    return self.order.epoch(done)

  def _evaluation_due(self, done: int) -> bool:
    period = self.config.train.eval_every * self.order.steps_per_epoch
    now, before = self.order.units(done), self.order.units(done - 1)
    passed = int(now / period) > int(before / period)
    return passed or done == self.num_steps

  def _fetch(self, done: int, pending: list[dict]) -> dict[str, np.ndarray]:
    """Returns what was measured at each update since the last time.

    Raises:
      FloatingPointError: Some of it is not finite.
    """
    parts = jax.device_get(pending)
    values = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    bad = [
      (np.argmin(ok), k)
      for k, v in values.items()
      if not (ok := np.isfinite(v)).all()
    ]
    if bad:
      index, name = min(bad)
      raise FloatingPointError(
        f"{name} is {values[name][index]} at update "
        f"{done - len(values[name]) + 1 + index}; the last checkpoint before "
        "it is kept. Try a lower --config.optimizer.learning_rate"
      )
    return values

  def _summarize(self, done: int, values: dict) -> dict[str, float]:
    """Means of loss and accuracy since the last time; the rest as it is."""
    summary = {
      name: float(v.mean() if name in ("loss", "accuracy") else v[-1])
      for name, v in values.items()
    }
    summary["questions"] = float(self.order.questions(done))
    if self.order.stages:
      summary["stage"] = float(self.order.stage(done - 1))
    if self.order.grows:
      summary["batch_size"] = float(self.order.batch_size(done - 1))
    return summary

  def _evaluate_and_save(
    self, done: int, state: TrainState, signals: StopSignals
  ) -> int | None:
    """Returns None, or the exit code of a signal that cut it short."""

    def between():
      if (exit_code := signals.exit_code(done)) is not None:
        raise _InterruptedError(exit_code)

    variables = {"params": state.params, "batch_stats": state.batch_stats}
    try:
      scores = self.score(variables, between)
    except _InterruptedError as interrupted:
      return interrupted.args[0]
    self.scored = done, scores
    rates = {
      name: value
      for name, value in scores.items()
      if value is None or isinstance(value, float)
    }
    summary = dict(rates)
    for part in ("by_answer_class", "by_question_type", "by_template"):
      for name, entry in scores.get(part, {}).items():
        summary[f"{part}/{name}"] = entry["accuracy"]
    self._write(done, "val", summary)
    logging.info(
      "epoch %.2f  %s: %s",
      self._epoch(done),
      self.config.data.eval_split,
      "  ".join(f"{k} {v:.4f}" for k, v in rates.items() if v is not None),
    )
    self._save(state, rates)
    return None

  def _after_evaluation(self, state: TrainState) -> TrainState:
    """Returns the state once its evaluation, already saved, has its effect."""
    assert self.scored is not None
    loss = self.scored[1].get("loss")  # None: not finite
    loss = parallel.agree(float(np.nan if loss is None else loss))
    opt_state = after_evaluation(state.opt_state, self.config.optimizer, loss)
    if opt_state is state.opt_state:
      return state
    return parallel.replicate(dataclasses.replace(state, opt_state=opt_state))

  def _write(self, done: int, prefix: str, summary: dict) -> None:
    values = {f"{prefix}/{name}": value for name, value in summary.items()}
    self.log.write(done, self._epoch(done), values)

  def _save(self, state: TrainState, scores: dict | None) -> None:
    self.checkpointer.save(
      state,
      config=self.config.to_dict(),
      vocabulary=self.dataset.vocabulary,
      data_sha256=self.dataset.sha256,
      metrics=scores,
      order=self.order.state(),
    )
    if self.saved:
      self.checkpointer.wait()
      self.saved()


class _InterruptedError(Exception):
  """An evaluation ends early; with the exit code."""
