"""The first paper's experiments: each differs from another in what it says."""

import importlib

import pytest
from places import ROOT

from configs import original_fp, original_sd
from configs.paper import small
from launch import _find_file

_CONSTANT = {
  "model.padding": "behind",
  "data.punctuation": "keep",
  "optimizer.schedule": "constant",
  "optimizer.learning_rate": 1e-4,
  "optimizer.weight_decay": 0.0,
  "optimizer.clip_norm": None,
}
_WARM_UP = {
  "data.punctuation": "split",
  "optimizer.schedule": "doubling",
  "optimizer.initial_learning_rate": 1e-6,
  "optimizer.clamp": True,
  "optimizer.weight_decay": 1e-4,
  "optimizer.clip_norm": 50.0,
}
# Of each experiment the one that it changes, and what it changes.
EXPERIMENTS = {
  "baseline": (
    None,
    _CONSTANT | {"model.reverse_question": False, "model.aggregation": "sum"},
  ),
  "baseline_sd": (None, _CONSTANT | {"model.padding": "front"}),
  "punctuation_split": ("baseline", {"data.punctuation": "split"}),
  "punctuation_drop": ("baseline", {"data.punctuation": "drop"}),
  "regularized": (
    "baseline",
    {"optimizer.weight_decay": 1e-4, "optimizer.clip_norm": 50.0},
  ),
  "inverted": (
    "baseline",
    {"model.reverse_question": True, "model.padding": "front"},
  ),
  "padding_front": ("baseline", {"model.padding": "front"}),
  "padding_absent": ("baseline", {"model.padding": "absent"}),
  "inverted_unpadded": ("inverted", {"model.padding": "absent"}),
  "inverted_behind": ("inverted", {"model.padding": "behind"}),
  "sgd": ("inverted", {"optimizer.name": "sgd", "optimizer.momentum": 0.0}),
  "multilabel_cnn": ("inverted", {"train.init_from": "multilabel"}),
  "balanced": ("baseline", {"data.balance_answers": True}),
  "restarts": ("inverted", {"optimizer.schedule": "restarts"}),
  "exponential": ("inverted", {"optimizer.schedule": "exponential"}),
  "step": ("inverted", {"optimizer.schedule": "step"}),
  "plateau": ("inverted", {"optimizer.schedule": "plateau"}),
  "batch_doubling_sd": (
    "baseline_sd",
    {"train.batch_size": 32, "train.double_batch_every": 45.0},
  ),
  "warmup_sd": ("baseline_sd", _WARM_UP),
  "warmup_fp": ("inverted", _WARM_UP),
  "warmup_code_fp": (
    "warmup_fp",
    {
      "optimizer.initial_learning_rate": 5e-6,
      "optimizer.learning_rate": 5e-4,
      "optimizer.clamp": False,
    },
  ),
  "santoro_fp": ("baseline", {"optimizer.learning_rate": 2.5e-4}),
  "answers_29": ("baseline", {"model.spare_answers": 1}),
  "bidirectional": ("inverted", {"model.bidirectional": True}),
}


def flat(config):
  from flax.traverse_util import flatten_dict

  return flatten_dict(config.to_dict(), sep=".")


def load(name):
  module = importlib.import_module(f"configs.paper.{name}")
  return flat(module.get_config()), module.__doc__


def test_all_experiments_are_here():
  names = {path.stem for path in (ROOT / "configs" / "paper").glob("*.py")}
  assert names - {"small"} == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_changes_what_it_says(name):
  base, changes = EXPERIMENTS[name]
  found, doc = load(name)
  assert f"configs/paper/{name}.py" in doc
  if base:
    before = load(base)[0]
  else:
    of_rn = original_sd if name.endswith("_sd") else original_fp
    before = flat(of_rn.get_config())
  assert found.keys() == before.keys()
  assert {k: v for k, v in found.items() if v != before[k]} == changes


# What small.py sets for all, or makes smaller.
_SIZES = {"train.batch_size", "train.double_batch_every"}
_RATES = {"optimizer.learning_rate", "optimizer.initial_learning_rate"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_small_experiment_is_about_the_same(name):
  base, changes = EXPERIMENTS[name]
  found = flat(small.get_config(name))
  assert max(found["model.g_units"]) == 128
  assert found["train.num_epochs"] == 12.0
  assert found["data.dir"] == ""
  for key, value in changes.items():
    if key in _RATES:
      value *= 5
    if key not in _SIZES:
      assert found[key] == value
  if base:
    before = flat(small.get_config(base))
    more = {k for k, v in found.items() if v != before[k]} - changes.keys()
    # A CNN needs pictures, which are not made at once.
    pictures = {"model.inputs", "data.augment"}
    pictures |= {*(k for k in more if k.startswith("generate."))}
    assert more == (pictures if name == "multilabel_cnn" else set())
  made = found["generate.num_train_scenes"] > 0
  assert made == (found["model.inputs"] == "states")
  assert made != found["data.augment"]
  doubled = found["train.double_batch_every"]
  assert bool(doubled) == (name == "batch_doubling_sd")
  assert not found["train.max_batch_size"] % found["train.batch_size"]
  # All sizes are reached, and most of the run is at the last.
  assert 3 * doubled < found["train.num_epochs"]


def test_names_are_found_from_elsewhere(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  found = _find_file("--config=configs/paper/small.py:sgd")
  assert found == f"--config={ROOT / 'configs/paper/small.py'}:sgd"
  with pytest.raises(ValueError, match=r"no configs/paper/sdg\.py: .* sgd"):
    small.get_config("sdg")
