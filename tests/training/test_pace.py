"""A training that may take so long is made shorter, in all its parts."""

import json
import math

import numpy as np
import pytest
from training_runs import (
  assert_same_arrays,
  flatten,
  read_lines,
  stopped_after,
)

from rn_jax import pace, train
from rn_jax.checkpoint import CheckpointError, load_model
from rn_jax.pace import Pace, fit, shorten

_STAGES = ("zero_hop up to 5 objects: 80 or 0.9", "all: 1")


def test_all_is_shortened_alike(make_config):
  config = make_config(
    **{
      "data.curriculum": _STAGES,
      "optimizer.warmup_epochs": 0.5,
      "optimizer.hold_epochs": 2.0,
      "optimizer.decay_epochs": 10.0,
      "optimizer.double_every": 3.0,
      "optimizer.patience": 8,
      "train.num_epochs": 8.0,
      "train.eval_every": 0.5,
      "train.double_batch_every": 1.0,
    }
  )
  shorter = shorten(config, 0.25, 10)
  assert shorter.data.curriculum == (
    "zero_hop up to 5 objects: 20 or 0.9",
    "all: 1",
  )
  optimizer, length = shorter.optimizer, shorter.train
  assert optimizer.warmup_epochs == 0.125
  assert optimizer.hold_epochs == 0.5
  assert optimizer.decay_epochs == 2.5
  assert optimizer.double_every == 0.75
  assert optimizer.patience == 5  # of 10 evaluations, as 8 were of 16
  assert length.num_epochs == 2
  assert length.eval_every == 0.2
  assert length.double_batch_every == 0.25
  assert optimizer.learning_rate == config.optimizer.learning_rate
  assert config.train.num_epochs == 8


def test_a_training_is_as_long_as_the_time_that_is_left(make_config):
  config = make_config(
    **{
      "train.num_epochs": 8.0,
      "train.eval_every": 2.0,
      "train.max_minutes": 2,
    }
  )
  # 114 of 120 s, of which 14 are over, 10 go into compiling and 2 into an
  # evaluation. Of the 88 s that are left four evaluations take less than a
  # tenth, and in 80 s 8,000 questions are read, of 24,000.
  trial = Pace(questions_per_second=100.0, evaluation=2.0, compiling=10.0)
  shorter = fit(config, trial, 24_000, 14.0)
  assert shorter.train.num_epochs == pytest.approx(8 / 3)
  assert shorter.train.eval_every == pytest.approx(2 / 3)
  assert fit(config, trial, 8_000, 14.0) is config
  # Of 86 s, two take less than a tenth: 7,800 questions in 78 s.
  slow = trial._replace(evaluation=4.0)
  shorter = fit(config, slow, 24_000, 14.0)
  assert shorter.train.num_epochs == pytest.approx(2.6)
  assert shorter.train.eval_every == pytest.approx(1.3)
  # All 7,100 questions, but not all evaluations.
  shorter = fit(config, slow, 7_100, 14.0)
  assert shorter.train.num_epochs == 8
  assert shorter.train.eval_every == 4
  config.train.eval_every = math.inf  # in the end alone
  shorter = fit(config, slow, 24_000, 14.0)
  assert shorter.train.eval_every == shorter.train.num_epochs
  assert shorter.optimizer.patience == config.optimizer.patience
  with pytest.raises(ValueError, match=r"take 24 s, and an evaluation 45\.0 s"):
    fit(config, trial._replace(evaluation=45.0), 24_000, 14.0)


def test_a_trial_leaves_no_trace_where_there_is_time(
  make_config, tmp_path, monkeypatch
):
  found, trials, measure = [], [], pace.measure
  monkeypatch.setattr(
    pace, "measure", lambda *a: trials.append(measure(*a)) or trials[0]
  )
  for limit in (None, 60):
    workdir = tmp_path / str(limit)
    # The whole run, of two updates, is one call.
    changes = {"train.max_minutes": limit, "train.updates_per_call": 3}
    train.train(make_config(**changes), workdir)
    found.append(flatten(load_model(workdir, "latest")[0]))
  assert len(trials) == 1
  assert 0 < trials[0].questions_per_second < np.inf
  assert 0 < trials[0].evaluation < 60
  assert_same_arrays(*found)


def test_a_resumed_run_keeps_the_length_that_was_decided(
  make_config, tmp_path, monkeypatch
):
  # 0.95 minutes leave 57 s, of which two evaluations take 27; in 30 s are read
  # 60 questions, of six epochs with 40 each a fourth.
  config = make_config(
    **{
      "data.curriculum": ("all: 80",),
      "optimizer.schedule": "cosine",
      "train.batch_size": 4,
      "train.num_epochs": 6.0,
      "train.eval_every": 2.0,
      "train.log_every": 1,
      "train.max_minutes": 1.0,
    }
  )
  monkeypatch.setattr(pace, "measure", lambda *_: Pace(2.0, 13.5, 0.0))
  monkeypatch.setattr(pace, "fit", lambda *a: fit(*a[:3], spent=0.0))
  train.train(config, tmp_path / "whole")
  written = json.loads((tmp_path / "whole" / "config.json").read_text())
  assert written["config"]["train"]["num_epochs"] == 1.5
  assert written["config"]["data"]["curriculum"] == ["all: 20"]
  steps = [x["step"] for x in read_lines(tmp_path / "whole")]
  assert max(steps) == 15
  assert {0, 15} == {
    x["step"] for x in read_lines(tmp_path / "whole") if "val/accuracy" in x
  }

  with stopped_after(7):
    train.train(config, tmp_path / "parts")
  monkeypatch.setattr(pace, "measure", None)  # there is no second trial
  train.train(config, tmp_path / "parts")
  whole, parts = (
    flatten(load_model(tmp_path / name, "latest")[0])
    for name in ("whole", "parts")
  )
  assert_same_arrays(parts, whole)

  config.train.max_minutes = 2.0
  with pytest.raises(CheckpointError, match=r"max_minutes=1\.0, not 2\.0"):
    train.train(config, tmp_path / "parts")


def test_a_mistake_is_found_before_the_trial(make_config, tmp_path):
  config = make_config(**{"train.max_minutes": 1, "data.curriculum": ("x: 1",)})
  with pytest.raises(ValueError, match="names 'x'"):
    train.train(config, tmp_path)
  config.train.max_minutes = 0
  with pytest.raises(ValueError, match="not None or a number above 0"):
    train.train(config, tmp_path)
