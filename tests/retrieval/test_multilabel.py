"""The multi-label CNN: its lesson, that it learns, and its descriptor."""

import json

import jax
import numpy as np
import optax
import pytest
from sklearn.metrics import average_precision_score

from rn_jax import parallel
from rn_jax.checkpoint import CheckpointError, load_model
from rn_jax.clevr import ATTRIBUTES
from rn_jax.data import records
from rn_jax.evaluate import load_network
from rn_jax.host.exclusive import BusyError, exclusive
from rn_jax.retrieval import train_multilabel as program
from rn_jax.retrieval.describe.features import load_features
from rn_jax.retrieval.describe.multilabel import (
  VALUES,
  MultilabelNetwork,
  average_precision,
  fewest_values,
  score,
  soft_margin_loss,
)
from rn_jax.retrieval.extract import extract_command
from rn_jax.retrieval.scene_graphs.scene_graph import load_scenes
from rn_jax.steps import init_state
from rn_jax.train_pictures import make_step


def test_the_loss_is_the_mean_cross_entropy_of_all_values():
  # Of 0: ln 2; of a logit ln 3, which is 3/4: ln 4/3 if it is there, ln 4 if
  # it is not.
  logits = np.log(np.array([[1.0, 3.0], [3.0, 1.0]], np.float32))
  targets = np.array([[True, True], [False, False]])
  expected = (2 * np.log(2) + np.log(4 / 3) + np.log(4)) / 4
  np.testing.assert_allclose(soft_margin_loss(logits, targets), expected, 1e-6)


def test_targets_are_the_values_of_the_objects(records_dir):
  found = program.contained_values(load_scenes(None, records_dir, "train"))
  assert not found.all()
  for row, scene in enumerate(records.read_scenes(records_dir, "train")):
    there = {
      values[index]
      for name, values in ATTRIBUTES.items()
      for index in scene["objects"][name]
    }
    assert {v for v, x in zip(VALUES, found[row], strict=True) if x} == there


@pytest.mark.parametrize(("fraction", "count"), [(0.05, 2), (0.5, 20), (1, 40)])
def test_images_of_fewest_values_are_chosen(fraction, count):
  targets = np.random.default_rng(0).random((40, 15)) < 0.5
  chosen = []
  for wanted in range(16):
    rows = [row for row in range(40) if sum(targets[row]) == wanted]
    chosen += rows[: count - len(chosen)]
  assert fewest_values(targets, fraction).tolist() == sorted(chosen)


def test_few_images_leave_one_and_no_fraction_is_an_error():
  assert fewest_values(np.eye(3, 15, dtype=bool), 0.05).tolist() == [0]
  for fraction in (0.0, 1.5):
    with pytest.raises(ValueError, match="within"):
      fewest_values(np.eye(3, 15, dtype=bool), fraction)


def test_scores_by_hand():
  targets = np.zeros((2, 15), bool)
  targets[0, 0] = True
  logits = np.where(targets, 1.0, -1.0)
  logits[1, 3] = 1.0
  scores = score(logits, targets, np.zeros((4, 15), bool))
  assert scores["accuracy"] == 29 / 30
  assert scores["all_right"] == 0.5
  assert scores["majority_accuracy"] == 29 / 30
  assert scores["mean_average_precision"] == 1.0  # of the one that is there
  assert scores["chance_average_precision"] == 0.5
  assert scores["values"]["cyan"] == (1.0, 0.5)
  assert scores["values"]["purple"] == (0.5, 1.0)


def test_average_precision_is_that_of_scikit_learn():
  rng = np.random.default_rng(0)
  assert average_precision(
    np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False])
  ) == pytest.approx((1 + 2 / 3) / 2)
  for levels in (4, 1000):  # many are equal, few are
    scores = rng.integers(0, levels, 200).astype(float)
    targets = rng.random(200) < 0.3
    expected = average_precision_score(targets, scores)
    assert average_precision(scores, targets) == pytest.approx(expected)


def test_each_split_has_a_fraction_of_its_own(records_dir):
  for given, sizes in (({}, (5, 2)), ({"val_fraction": 0.8}, (5, 4))):
    config = program.make_config(
      records_dir, image_size=32, fraction=0.5, **given
    )
    for split, size in zip(("train", "val"), sizes, strict=True):
      images = program.load_images(config, split).scenes["image"]
      assert len(images) == size
  config = program.make_config(records_dir, image_size=32, val_fraction=0.0)
  with pytest.raises(ValueError, match="fraction"):
    program.load_images(config, "val")


@pytest.fixture
def config(records_dir):
  config = program.make_config(records_dir, image_size=32, fraction=1.0)
  config.model.conv_channels = (24, 24, 24)
  config.train.batch_size = 10
  config.train.log_every = 7
  config.optimizer.learning_rate = 1e-2
  return config


def test_an_update_is_the_same_on_one_device_and_two(config):
  config.model.conv_channels = (4,)
  network = MultilabelNetwork(config.model, parallel.AXIS)
  optimizer = optax.sgd(1.0)
  rng = np.random.default_rng(0)
  batch = {
    "image": rng.integers(0, 256, (8, 32, 32, 3), np.uint8),
    "targets": rng.random((8, 15)) < 0.5,
  }
  state = jax.jit(lambda: init_state(network, optimizer, batch, 0))()
  step = make_step(network, optimizer, lambda _: 1.0, program.lesson)
  step = jax.jit(jax.vmap(step, (None, None, 0), axis_name=parallel.AXIS))
  one, two = (
    step(
      state,
      {},
      {k: x.reshape(n, 8 // n, *x.shape[1:]) for k, x in batch.items()},
    )
    for n in (1, 2)
  )
  for devices in (one, two):
    for found, expected in zip(
      jax.tree.leaves(devices), jax.tree.leaves(one), strict=True
    ):
      for device in found:
        np.testing.assert_allclose(device, expected[0], 1e-5, 1e-5)
  assert one[1]["gradient_norm"] > 0.1


def train(config, output, epochs):
  config.train.num_epochs = config.train.eval_every = epochs
  return program.train_multilabel(config, output)


def test_a_run_without_updates_is_an_error(config, tmp_path):
  config.train.batch_size = 64
  message = r"10 images, read in batches of 64 for 1 epochs, are 0\.16 updates"
  with pytest.raises(ValueError, match=message):
    train(config, tmp_path, 1)


def test_two_runs_do_not_meet(config, tmp_path):
  with exclusive(tmp_path / ".train.lock"), pytest.raises(BusyError):
    train(config, tmp_path, 1)
  assert not list(tmp_path.iterdir())


def test_learns_by_heart_resumes_and_describes(
  config, tmp_path, monkeypatch, records_dir
):
  load = program.load_images
  monkeypatch.setattr(program, "load_images", lambda c, split: load(c, "train"))
  first = train(config, tmp_path / "parts", 3)
  assert first["accuracy"] < 0.9
  last = train(config, tmp_path / "parts", 60)
  assert last["accuracy"] == last["all_right"] == 1.0
  variables, meta = load_model(tmp_path / "parts")
  assert meta["step"] == 60
  assert meta["vocabulary"] == {"values": list(VALUES)}
  assert meta["metrics"]["all_right"] == 1.0
  text = (tmp_path / "parts" / "metrics.jsonl").read_text()
  lines = [json.loads(line) for line in text.splitlines()]
  assert [x["step"] for x in lines if "train/loss" in x] == [
    *(3, 7, 14, 21, 28, 35, 42, 49, 56, 60)
  ]
  assert lines[-2]["train/accuracy"] == 1.0
  # The cells' coordinates are left out.
  assert variables["params"]["hidden"]["kernel"].shape == (24, 15)
  whole = train(config, tmp_path / "whole", 60)
  assert whole == last
  again = load_model(tmp_path / "whole")[0]
  jax.tree.map(np.testing.assert_array_equal, variables, again)

  for key, value in (("seed", 1), ("train.fraction", 0.5)):
    other = config.copy_and_resolve_references()
    other.update_from_flattened_dict({key: value})
    with pytest.raises(CheckpointError, match=f"{key} from .* to {value}"):
      train(other, tmp_path / "parts", 60)

  path = extract_command(
    tmp_path / "parts",
    tmp_path,
    overrides={"data.dir": str(records_dir), "eval.batch_size": 2},
  )
  features = load_features(path)
  assert features.label("conv_avg") == "multilabel conv avg"
  network = MultilabelNetwork(config.model)
  images = load(config, "val").scenes["image"]
  _, outputs = network.apply(variables, {"image": images})
  cells = np.asarray(outputs["objects"])
  assert cells.shape == (5, 16, 26)
  np.testing.assert_allclose(
    features.descriptor("conv_avg"), cells[..., :24].mean(1), rtol=1e-4
  )
  with pytest.raises(ValueError, match="answers no questions"):
    load_network(tmp_path / "parts")
  with pytest.raises(ValueError, match="multi-label CNN gives"):
    extract_command(tmp_path / "parts", tmp_path, descriptors=["g2_avg"])
