"""A run that was stopped goes on as if nothing had happened, or is refused."""

import pytest
from training_runs import (
  assert_same_arrays,
  flatten,
  read_lines,
  stopped_after,
)

from rn_jax import parallel, train
from rn_jax.checkpoint import CheckpointError, load_model
from rn_jax.checkpoint_format import read_step
from rn_jax.host import signals


def test_a_resumed_run_equals_an_uninterrupted_one(
  make_config, tmp_path, monkeypatch
):
  # Augmentation, dropout, batch statistics, a moving learning rate, a stage
  # that ends early, and a stop that is no evaluation: all must go on as if
  # nothing had happened. The stage is told to end after two updates, ends
  # eight later, and would have had fifteen.
  config = make_config(
    "original_fp",
    **{
      "data.curriculum": ("all: 120 or 0.0",),
      "optimizer.schedule": "cosine",
      "train.batch_size": 8,
      "train.log_every": 2,
      "train.num_epochs": 4.0,
      "train.updates_per_call": 2,
    },
  )
  traces = []
  make_steps = parallel.several_updates

  def make_counted(step):
    steps = make_steps(step)
    return lambda *args: traces.append(1) or steps(*args)

  with monkeypatch.context() as context:
    context.setattr(parallel, "several_updates", make_counted)
    train.train(config, tmp_path / "whole")
  # Calls of two updates, or of one where an epoch of five ends.
  assert len(traces) == 2

  with stopped_after(4):
    train.train(config, tmp_path / "parts")
  assert read_lines(tmp_path / "parts")[-1]["step"] == 4
  train.train(config, tmp_path / "parts")

  whole, parts = (
    flatten(load_model(tmp_path / name, "latest")[0])
    for name in ("whole", "parts")
  )
  assert_same_arrays(parts, whole)
  last = [
    {k: v for k, v in read_lines(tmp_path / name)[-1].items() if k != "time"}
    for name in ("whole", "parts")
  ]
  assert last[0] == last[1]
  stages = {
    line["step"]: line["train/stage"]
    for line in read_lines(tmp_path / "parts")
    if "train/stage" in line
  }
  assert stages[10] == 0
  assert stages[12] == 1


def test_a_batch_that_grows_goes_on_as_if_nothing_had_happened(
  make_config, tmp_path, monkeypatch
):
  # 40 questions: ten batches of four, five of eight, two of sixteen.
  config = make_config(
    **{
      "optimizer.schedule": "cosine",
      "optimizer.warmup_epochs": 0.5,
      "train.batch_size": 4,
      "train.double_batch_every": 1.0,
      "train.max_batch_size": 16,
      "train.num_epochs": 3.0,
      "train.log_every": 4,
    }
  )
  sizes = []
  make_steps = parallel.several_updates

  def make_counted(step):
    steps = make_steps(step)

    def counted(state, tables, batches):
      sizes.append(batches["groups"].shape[1])
      return steps(state, tables, batches)

    return counted

  with monkeypatch.context() as context:
    context.setattr(parallel, "several_updates", make_counted)
    train.train(config, tmp_path / "whole")
  assert sizes == [4, 8, 16]  # each is compiled once
  lines = [x for x in read_lines(tmp_path / "whole") if "train/loss" in x]
  found = [(x["step"], x["train/batch_size"], x["epoch"]) for x in lines]
  assert found == [
    *((4, 4, 0.4), (8, 4, 0.8), (10, 4, 1.0)),
    *((12, 8, 1.4), (15, 8, 2.0), (16, 16, 2.4), (17, 16, 2.8)),
  ]

  with stopped_after(12):
    train.train(config, tmp_path / "parts")
  train.train(config, tmp_path / "parts")
  whole, parts = (
    flatten(
      read_step(tmp_path / name / "checkpoints" / "17", ("model", "train"))[0]
    )
    for name in ("whole", "parts")
  )
  assert_same_arrays(parts, whole)
  config.train.max_batch_size = 8
  with pytest.raises(CheckpointError, match="max_batch_size from 16 to 8"):
    train.train(config, tmp_path / "parts")


def test_an_evaluation_that_was_cut_short_is_made_up_for(
  make_config, tmp_path, monkeypatch
):
  config = make_config(**{"train.num_epochs": 2.0, "eval.batch_size": 1})
  train.train(config, tmp_path / "whole")
  last = read_lines(tmp_path / "whole")[-1]["step"]
  exit_code = signals.StopSignals.exit_code
  for step in (last // 2, last):
    calls = []

    def stop(self, done, step=step, calls=calls):
      calls.append(done)
      # After the update, and two batches of the evaluation.
      return 143 if calls.count(step) == 3 else exit_code(self, done)

    monkeypatch.setattr(signals.StopSignals, "exit_code", stop)
    with pytest.raises(SystemExit) as stopped:
      train.train(config, tmp_path / "parts")
    assert stopped.value.code == 143
    assert calls[-1] == step
    meta = load_model(tmp_path / "parts" / "checkpoints" / str(step))[1]
    assert not meta["metrics"]
  monkeypatch.undo()
  result = train.train(config, tmp_path / "parts")
  assert result["num_examples"] == 20
  scores = [
    {x["step"]: x["val/accuracy"] for x in lines if "val/accuracy" in x}
    for lines in (read_lines(tmp_path / n) for n in ("whole", "parts"))
  ]
  assert scores[0] == scores[1]
  metas = [
    load_model(tmp_path / name, which)[1]
    for name in ("whole", "parts")
    for which in ("best", "latest")
  ]
  for whole, parts in zip(metas[:2], metas[2:], strict=True):
    assert whole["metrics"] == parts["metrics"] != {}
    assert whole["hashes"]["model"] == parts["hashes"]["model"]


@pytest.mark.parametrize(
  "ends", ["after an evaluation", "while evaluating", "between two"]
)
def test_a_rate_that_falls_on_plateaus_goes_on_where_it_was(
  make_config, tmp_path, monkeypatch, ends
):
  # The validation loss is as told: it falls, then stays, and is not finite.
  # With patience for two evaluations the rate falls after 3 and 5.
  losses = [3.0, 2.0, 2.0, 2.0, 1.0, None, 1.0]
  config = make_config(
    **{
      "optimizer.schedule": "plateau",
      "optimizer.learning_rate": 0.01,
      "optimizer.decay_rate": 0.5,
      "optimizer.patience": 2,
      "train.batch_size": 20,
      "train.log_every": 1,
      "train.num_epochs": 7.0,
    }
  )
  score = train.evaluate.score
  step = [0]

  def told(dataset, predictions):
    scores = score(dataset, predictions)
    return scores | {"loss": losses[min(step[0] // 2, 6)]}

  exit_code = signals.StopSignals.exit_code
  calls = []

  def watch(stop_at):
    def code(self, done):
      step[0] = done
      calls.append(done)
      # The second call after an update is made by the evaluation.
      number = 2 if ends == "while evaluating" else 1
      if done == stop_at and calls.count(done) == number:
        return 143
      return exit_code(self, done)

    return code

  monkeypatch.setattr(train.evaluate, "score", told)
  monkeypatch.setattr(signals.StopSignals, "exit_code", watch(None))
  train.train(config, tmp_path / "whole")
  rates = [
    x["train/learning_rate"]
    for x in read_lines(tmp_path / "whole")
    if "train/learning_rate" in x
  ]
  # Evaluations follow the updates 0, 2, 4, ...; lines are of the update before.
  halves = [0] * 6 + [1] * 6 + [2] * 2
  assert rates == pytest.approx([0.01 * 0.5**n for n in halves])

  if ends == "after an evaluation":  # of a shorter run
    config.train.num_epochs = 3.0
    train.train(config, tmp_path / "parts")
    config.train.num_epochs = 7.0
  else:
    calls.clear()
    step[0] = 0
    stop_at = 6 if ends == "while evaluating" else 11
    monkeypatch.setattr(signals.StopSignals, "exit_code", watch(stop_at))
    with pytest.raises(SystemExit):
      train.train(config, tmp_path / "parts")
    monkeypatch.setattr(signals.StopSignals, "exit_code", watch(None))
  train.train(config, tmp_path / "parts")
  items = [
    read_step(tmp_path / name / "checkpoints" / "14", ("model", "train"))[0]
    for name in ("whole", "parts")
  ]
  found, expected = map(flatten, items)
  assert_same_arrays(found, expected)


def test_other_records_or_another_network_do_not_resume(make_config, tmp_path):
  train.train(make_config(**{"train.num_epochs": 1.0}), tmp_path)
  wider = make_config(**{"train.num_epochs": 2.0, "model.lstm_units": 24})
  with pytest.raises(CheckpointError, match="lstm"):
    train.train(wider, tmp_path)
  swapped = make_config(**{"data.train_split": "val"})
  with pytest.raises(CheckpointError, match="other records"):
    train.train(swapped, tmp_path)


def test_a_resumed_run_must_read_the_same_questions(
  make_config, tmp_path, caplog
):
  train.train(make_config(**{"train.num_epochs": 1.0}), tmp_path)
  longer = {"train.num_epochs": 2.0}
  for key, value in (
    ("seed", 1),
    ("train.batch_size", 20),
    ("data.questions_per_scene", 4),
  ):
    with pytest.raises(CheckpointError, match=f"{key} from .* to {value}"):
      train.train(make_config(**longer, **{key: value}), tmp_path)
  # What may change is said.
  train.train(make_config(**longer), tmp_path)
  assert "train.num_epochs from 1.0 to 2.0" in caplog.text
