"""Runs whose records and workdir are in an object store."""

import json

import numpy as np
import pytest
from object_store import ObjectStore, install
from training_runs import flatten

from rn_jax import evaluate, predict, train
from rn_jax.checkpoint import CheckpointError, load_model
from rn_jax.host import signals
from rn_jax.host.paths import place

RUN = "gs://bucket/run"


@pytest.fixture
def store(tmp_path, monkeypatch, records_dir):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  install()
  for path in records_dir.iterdir():
    if path.is_file():
      ObjectStore.objects[f"bucket/records/{path.name}"] = path.read_bytes()
  return ObjectStore.objects


def test_a_run_is_resumed_and_used(make_config, store, tmp_path, monkeypatch):
  config = make_config(**{"train.batch_size": 8, "train.num_epochs": 2.0})
  wanted = train.train(config, tmp_path / "run")
  exit_code = signals.StopSignals.exit_code
  sent_before = []

  def stop(self, step):
    if step == 4:
      sent_before.extend(store)
      return 143
    return exit_code(self, step)

  config.data.dir = "gs://bucket/records"
  with monkeypatch.context() as patch:
    patch.setattr(signals.StopSignals, "exit_code", stop)
    with pytest.raises(SystemExit):
      train.train(config, place(RUN))
  assert "bucket/run/checkpoints/0/meta/metadata" in sent_before
  assert "bucket/run/checkpoints/4/meta/metadata" in store
  assert "bucket/run/eval_val.json" not in store
  result = train.train(config, RUN)
  assert result["accuracy"] == wanted["accuracy"]
  assert json.loads(store["bucket/run/eval_val.json"]) == json.loads(
    (tmp_path / "run" / "eval_val.json").read_text()
  )
  names = {key.removeprefix("bucket/run/").partition("/")[0] for key in store}
  assert {"config.json", "metrics.jsonl", "tensorboard"} <= names
  assert not [key for key in store if "tmp" in key or ".lock" in key]

  of_store, here = (
    flatten(load_model(path)[0]) for path in (RUN, tmp_path / "run")
  )
  for name, values in here.items():
    np.testing.assert_array_equal(values, of_store[name], err_msg=name)
  steps = {
    int(key.split("/")[3]) for key in store if "bucket/run/checkpoints/" in key
  }
  step = f"{RUN}/checkpoints/{max(steps)}"
  assert load_model(step)[1]["step"] == max(steps)
  assert str(evaluate.results_folder(f"{RUN}/checkpoints")) == RUN

  before = set(store)
  evaluate.evaluate_command(RUN, place("gs://bucket/other"), "val", {})
  predict.predict_command(RUN, place("gs://bucket/other"), "val", {})
  assert set(store) - before == {
    f"bucket/other/{name}"
    for name in (
      *("eval_val.json", "plots/confusion_val.png"),
      *("predictions_val.jsonl", "submission_val.txt"),
    )
  }


def test_no_run_is_there(store):
  with pytest.raises(CheckpointError, match=r"^gs://bucket/none: no "):
    load_model("gs://bucket/none")


def test_several_processes_are_refused(make_config, store, monkeypatch):
  monkeypatch.setattr("jax.process_count", lambda: 2)
  before = dict(store)
  with pytest.raises(ValueError, match="a folder that all of them see"):
    train.train(make_config(), place(RUN))
  assert store == before
