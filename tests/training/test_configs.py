"""Config files: all load, and no key is there for nothing."""

import importlib
import inspect
import re

import pytest
from places import ROOT

from configs import common
from data_prep.generation import builtin

NAMES = sorted(
  path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "common"
)


def leaves(config, prefix=""):
  for key, value in config.items():
    if hasattr(value, "items"):
      yield from leaves(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}"


@pytest.mark.parametrize("name", NAMES)
def test_config_loads_and_adds_no_key(name):
  module = importlib.import_module(f"configs.{name}")
  config = module.get_config()
  assert set(leaves(config)) == set(leaves(common.get_config()))
  assert f"configs/{name}.py" in module.__doc__
  model = config.model
  assert len(model.g_dropout) == len(model.g_units)
  assert len(model.f_dropout) == len(model.f_units)


@pytest.mark.parametrize("key", list(leaves(common.get_config())))
def test_every_key_is_read(key):
  part, _, name = key.rpartition(".")
  if part == "generate":
    assert name in inspect.signature(builtin.prepare).parameters
    return
  sources = [*(ROOT / "rn_jax").rglob("*.py"), ROOT / "launch.py"]
  code = "\n".join(path.read_text() for path in sources)
  # As config.part.name, or as part.name or config.name where the part was
  # handed over; words in strings and flags do not count.
  code = re.sub(r'""".*?"""|"[^"\n]*"', "", code, flags=re.S)
  part = part.rpartition(".")[2]
  owners = "|".join(filter(None, ("config", part, "evaluation")))
  assert re.search(rf"\b(?:{owners})\.{name}\b(?!\s*=[^=])", code), key


def test_tiny_makes_any_network_small():
  from configs import tiny

  for name in NAMES:
    if name in ("common", "tiny"):
      continue
    config = tiny.get_config(name)
    assert config.train.batch_size % config.data.questions_per_scene == 0
    assert not config.data.curriculum
    assert not config.train.init_from
    assert config.generate.num_train_scenes <= 400
    full = importlib.import_module(f"configs.{name}").get_config()
    assert max(config.model.g_units) == 32
    assert config.model.question_layer == full.model.question_layer
    assert config.model.aggregation == full.model.aggregation
