"""Several processes that read, decode and train on shards of their own."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT
from training_runs import flatten

from data_prep.convert_clevr import convert
from rn_jax import train
from rn_jax.checkpoint import CheckpointError, load_model
from rn_jax.data import records
from rn_jax.data.dataset import WHOLE, Share, load_dataset
from rn_jax.data.train_order import TrainOrder

# Trains as the command does, and says which shards it has opened.
_PROGRAM = """
import sys
import launch
from rn_jax.data import records

read_shard = records.read_shard

def noting(path):
  print("opened", path.name)
  return read_shard(path)

records.read_shard = noting
launch.run()
"""


@pytest.fixture(scope="module")
def shards_dir(clevr_dir, tmp_path_factory):
  """The records in three shards a split."""
  root = tmp_path_factory.mktemp("shards")
  convert(clevr_dir, root, image_size=32, workers=1, num_shards=3)
  return root


@pytest.mark.parametrize("inputs", ["states", "pixels"])
def test_a_share_is_decoded_from_its_shards_alone(
  shards_dir, make_config, monkeypatch, tmp_path, inputs
):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  config = make_config(**{"data.dir": str(shards_dir)}).data
  opened = []
  read_shard = records.read_shard
  monkeypatch.setattr(
    records,
    "read_shard",
    lambda path: opened.append(path.name) or read_shard(path),
  )
  every = [path.name for path in records.shard_paths(shards_dir, "train")]
  parts = []
  for index, own in ((0, every[::2]), (1, every[1::2])):
    opened.clear()
    parts.append(load_dataset(config, inputs, "train", Share(index, 2)))
    assert opened == own
    opened.clear()  # and again, from its own cache
    again = load_dataset(config, inputs, "train", Share(index, 2))
    assert opened == []
    np.testing.assert_array_equal(
      again.questions["question"], parts[-1].questions["question"]
    )
  whole = load_dataset(config, inputs, "train")
  names = np.concatenate([part.image_filename for part in parts])
  assert sorted(names) == sorted(whole.image_filename)
  assert sum(part.num_questions for part in parts) == whole.num_questions
  assert {part.sha256 for part in parts} == {whole.sha256}
  with pytest.raises(
    records.RecordError, match=r"3 shards, too few for 4.*num"
  ):
    load_dataset(config, inputs, "train", Share(0, 4))


def test_shares_read_their_own_questions_in_orders_of_their_own():
  scene = np.repeat(np.arange(6), 5)
  of_all = 45, 45  # the other process has fifteen
  order = TrainOrder(scene, 12, 1, 3, share=Share(0, 2), of_all=of_all)
  assert order.steps_per_epoch == 45 / 12
  # Five updates read its thirty questions once, and then again.
  read = np.concatenate([order(step).ravel() for step in range(10)])
  for epoch in read.reshape(2, 30):
    np.testing.assert_array_equal(np.sort(epoch), np.arange(30))
  resumed = TrainOrder(scene, 12, 1, 3, share=Share(0, 2), of_all=of_all)
  np.testing.assert_array_equal(resumed(7), order(7))
  # What decides, beside the seed: which process it is, and of how many.
  for share in (Share(1, 2), Share(0, 3), WHOLE):
    other = TrainOrder(scene, 12, 1, 3, share=share, of_all=of_all)
    found = other(0).ravel()
    assert len(found) == 12 // share.count
    assert found.tolist() != order(0).ravel()[: len(found)].tolist()


def _train(workdir, records_dir, epochs):
  """Trains with two processes; returns what each has opened for training."""
  with socket.socket() as listener:
    listener.bind(("localhost", 0))
    port = listener.getsockname()[1]
  processes = [
    subprocess.Popen(
      [
        *(sys.executable, "-c", _PROGRAM, f"--workdir={workdir}"),
        "--config=configs/tiny.py:original_sd",
        f"--config.data.dir={records_dir}",
        "--config.data.on_device=False",
        "--config.data.own_shards=True",
        "--config.data.max_question_length=30",
        "--config.train.batch_size=8",
        f"--config.train.num_epochs={epochs}",
        "--config.train.log_every=1",
        f"--coordinator_address=localhost:{port}",
        *("--num_processes=2", f"--process_id={number}"),
      ],
      cwd=ROOT,
      env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for number in range(2)
  ]
  opened = []
  for process in processes:
    output, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    names = [line.split()[1] for line in output.splitlines()]
    opened.append([name for name in names if "-train." in name])
  return opened


def test_two_processes_open_their_shards_alone_and_resume(
  shards_dir, make_config, tmp_path
):
  every = [path.name for path in records.shard_paths(shards_dir, "train")]
  for file in (shards_dir / "cache").glob("*of2.arrays"):
    file.unlink()
  assert _train(tmp_path / "whole", shards_dir, 2.0) == [every[::2], every[1:2]]
  assert _train(tmp_path / "parts", shards_dir, 1.0) == [[], []]  # decoded
  _train(tmp_path / "parts", shards_dir, 2.0)
  whole, parts = (
    flatten(load_model(tmp_path / name, "latest")[0])
    for name in ("whole", "parts")
  )
  for name, values in whole.items():
    np.testing.assert_array_equal(values, parts[name], err_msg=name)
  lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
  assert json.loads(lines[-1])["step"] == 10
  # One process would read other questions.
  config = make_config(
    **{
      "data.dir": str(shards_dir),
      "data.on_device": False,
      "data.own_shards": True,
      "data.max_question_length": 30,
      "train.batch_size": 8,
    }
  )
  with pytest.raises(CheckpointError, match="by 2 processes and are now by 1"):
    train.train(config, tmp_path / "parts")
