"""Training leaves what it should, and stops in an orderly way."""

import dataclasses
import json

import numpy as np
import pytest
from training_runs import flatten, read_lines

from rn_jax import evaluate, train
from rn_jax.checkpoint import load_model
from rn_jax.data import input_pipeline
from rn_jax.data.records import RecordError
from rn_jax.host.exclusive import BusyError, exclusive


@pytest.mark.draws
def test_a_finished_run_is_evaluated_again_and_not_trained(
  make_config, tmp_path
):
  exchanged = {"data.symmetries": ("colors", "mirror")}
  config = make_config(**{"train.num_epochs": 1.0}, **exchanged)
  first = train.train(config, tmp_path)
  lines = read_lines(tmp_path)
  assert train.train(config, tmp_path) == first
  assert read_lines(tmp_path) == lines
  stored = json.loads((tmp_path / "eval_val.json").read_text())
  assert stored["accuracy"] == first["accuracy"]
  assert stored["num_examples"] == 20
  assert 0 < stored["question_only_accuracy"] < 1
  train.evaluate.evaluate_command(tmp_path, tmp_path, "val", {})
  assert json.loads((tmp_path / "eval_val.json").read_text()) == stored
  for name in ("config.json", "first_batch.png", "plots"):
    assert (tmp_path / name).exists(), name
  assert list((tmp_path / "tensorboard").iterdir())


def test_two_runs_do_not_meet_in_a_workdir(make_config, tmp_path):
  with (
    exclusive(tmp_path / "run" / ".train.lock"),
    pytest.raises(BusyError, match=r"run: another run .*process \d+ on"),
  ):
    train.train(make_config(), tmp_path / "run")
  assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("which", ["train", "eval"])
def test_a_missing_split_is_found_before_any_is_read(
  make_config, tmp_path, monkeypatch, which
):
  monkeypatch.setattr(train, "load_dataset", None)
  config = make_config(**{f"data.{which}_split": "tast"})
  with pytest.raises(RecordError, match="split 'tast' is not there"):
    train.train(config, tmp_path / "run")


def test_results_go_to_the_run_whatever_it_is_called(tmp_path):
  run = tmp_path / "runs" / "7"
  step = run / "checkpoints" / "200"
  step.mkdir(parents=True)
  for path in run, run / "checkpoints":
    assert evaluate.results_folder(path) == run
  # Of one step, which need not be the best, they do not take its place.
  assert evaluate.results_folder(step) == run / "step_200"


def test_what_a_training_knew_of_a_split_is_of_that_split_alone(tmp_path):
  result = {"num_examples": 10, "data_sha256": "a", "accuracy": 0.5}
  result["confusion"] = {"answers": ["yes"], "counts": [[10]]}
  before = result | {"question_only_accuracy": 0.4}
  evaluate.write_evaluation(tmp_path, before, "val")
  known = evaluate.of_the_training(tmp_path, "val", result)
  assert known == {"question_only_accuracy": 0.4}
  for change in {"num_examples": 11}, {"data_sha256": "b"}:
    assert not evaluate.of_the_training(tmp_path, "val", result | change)
  del before["data_sha256"]  # as earlier versions did
  evaluate.write_evaluation(tmp_path, before, "val")
  assert evaluate.of_the_training(tmp_path, "val", result)


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


def test_scenes_on_the_device_or_sent_make_no_difference(make_config, tmp_path):
  results = []
  for on_device in (True, False):
    config = make_config(
      "ir_fp",
      **{
        "train.num_epochs": 1.0,
        "train.batch_size": 16,
        "data.questions_per_scene": 4,
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


def test_a_run_without_updates_is_an_error(make_config, tmp_path):
  config = make_config(**{"train.num_epochs": 0.02})
  config.train.batch_size = 2000
  message = "40 questions, read in batches of 2,000 for 0.02 epochs, are 0.0004"
  with pytest.raises(ValueError, match=message):
    train.train(config, tmp_path)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["eval_every", "log_every"])
def test_a_period_of_zero_is_an_error(make_config, tmp_path, name):
  config = make_config(**{f"train.{name}": 0})
  with pytest.raises(ValueError, match=f"train.{name} is 0"):
    train.train(config, tmp_path)


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
