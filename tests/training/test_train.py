"""Training: it learns, it resumes exactly, and it stops in an orderly way."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from rn_jax import parallel, train
from rn_jax.checkpoint import CheckpointError, load_model
from rn_jax.data import input_pipeline
from rn_jax.host import signals

SIX = ("original_fp", "original_sd", "ir_fp", "ir_sd", "avf_fp", "avf_sd")


def flatten(tree):
  return {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def read_lines(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", SIX)
def test_32_questions_are_learned_by_heart(name, make_config, tmp_path):
  config = make_config(
    name,
    **{
      "data.eval_split": "train",
      "data.augment": False,
      "train.batch_size": 40,
      "train.num_epochs": 120.0,
      "train.eval_every": 120.0,
      "train.log_every": 60,
      "optimizer.learning_rate": 3e-3,
      "optimizer.weight_decay": 0.0,
    },
  )
  config.model.g_dropout = (0.0,) * len(config.model.g_units)
  config.model.f_dropout = (0.0,) * len(config.model.f_units)
  result = train.train(config, tmp_path)
  assert result["num_examples"] >= 32
  assert result["accuracy"] == 1.0


def test_a_resumed_run_equals_an_uninterrupted_one(
  make_config, tmp_path, monkeypatch
):
  # Augmentation, dropout, batch statistics, a moving learning rate, and a
  # stop that is no evaluation: all must go on as if nothing had happened.
  config = make_config(
    "original_fp",
    **{
      "optimizer.schedule": "cosine",
      "train.batch_size": 8,
      "train.num_epochs": 2.0,
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

  exit_code = signals.StopSignals.exit_code
  monkeypatch.setattr(
    signals.StopSignals,
    "exit_code",
    lambda self, step: 143 if step == 4 else exit_code(self, step),
  )
  with pytest.raises(SystemExit) as stop:
    train.train(config, tmp_path / "parts")
  assert stop.value.code == 143
  monkeypatch.undo()
  assert read_lines(tmp_path / "parts")[-1]["step"] == 4
  train.train(config, tmp_path / "parts")

  whole, parts = (
    flatten(load_model(tmp_path / name, "latest")[0])
    for name in ("whole", "parts")
  )
  assert whole.keys() == parts.keys()
  for name, values in whole.items():
    np.testing.assert_array_equal(values, parts[name], err_msg=name)
  last = [
    {k: v for k, v in read_lines(tmp_path / name)[-1].items() if k != "time"}
    for name in ("whole", "parts")
  ]
  assert last[0] == last[1]


def test_a_finished_run_is_evaluated_again_and_not_trained(
  make_config, tmp_path
):
  config = make_config(**{"train.num_epochs": 1.0})
  first = train.train(config, tmp_path)
  lines = read_lines(tmp_path)
  assert train.train(config, tmp_path) == first
  assert read_lines(tmp_path) == lines
  stored = json.loads((tmp_path / "eval_val.json").read_text())
  assert stored["accuracy"] == first["accuracy"]
  assert stored["num_examples"] == 20
  assert 0 < stored["question_only_accuracy"] < 1
  for name in ("config.json", "first_batch.png", "plots"):
    assert (tmp_path / name).exists(), name
  assert list((tmp_path / "tensorboard").iterdir())


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


def test_a_split_without_answers_cannot_be_learned(
  make_config, tmp_path, monkeypatch
):
  load = train.load_dataset

  def without_answers(*args):
    dataset = load(*args)
    answer = dataset.questions["answer"].copy()
    answer[3] = -1
    questions = {**dataset.questions, "answer": answer}
    return dataclasses.replace(dataset, questions=questions)

  monkeypatch.setattr(train, "load_dataset", without_answers)
  with pytest.raises(ValueError, match="questions without an answer"):
    train.train(make_config(), tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
  make_config, tmp_path
):
  train.train(make_config(**{"train.num_epochs": 1.0}), tmp_path)
  good = flatten(load_model(tmp_path, "latest")[0])
  broken = make_config(
    **{"train.num_epochs": 3.0, "optimizer.learning_rate": 1e38}
  )
  # The loss of update 2 is still that of good parameters; the update is not.
  with pytest.raises(FloatingPointError, match="norm is inf at update 2"):
    train.train(broken, tmp_path)
  kept = flatten(load_model(tmp_path, "latest")[0])
  for name, values in good.items():
    np.testing.assert_array_equal(values, kept[name], err_msg=name)


@pytest.mark.parametrize(
  ("name", "per_scene"), [("original_fp", 1), ("ir_sd", 4)]
)
def test_scenes_on_the_device_or_sent_make_no_difference(
  name, per_scene, make_config, tmp_path
):
  results = []
  for on_device in (True, False):
    config = make_config(
      name,
      **{
        "train.num_epochs": 1.0,
        "train.batch_size": 16,
        "data.questions_per_scene": per_scene,
        "data.on_device": on_device,
      },
    )
    workdir = tmp_path / str(on_device)
    train.train(config, workdir)
    results.append(flatten(load_model(workdir)[0]))
  for key, values in results[0].items():
    np.testing.assert_allclose(
      values, results[1][key], rtol=1e-4, atol=1e-5, err_msg=key
    )


def test_calls_end_where_something_is_due():
  calls = input_pipeline.plan_calls(
    range(3, 20), 4, lambda done: done in (5, 9, 14)
  )
  assert [(call.start, len(call)) for call in calls] == [
    *((3, 1), (4, 1)),  # to 5
    (5, 4),  # to 9
    *((9, 4), (13, 1)),  # to 14
    *((14, 4), (18, 1), (19, 1)),
  ]
