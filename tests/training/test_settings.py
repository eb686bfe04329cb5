"""Config values that stand for something, on command lines and in old files."""

import contextlib

import jax
import pytest
from absl import flags
from ml_collections import config_flags

from configs import common, original_fp
from rn_jax.settings import read_config, resolve


def parse(*arguments):
  """Returns the config and the overrides of a command line."""
  holder = flags.FlagValues()
  line = ["launch.py", *arguments]
  config_flags.DEFINE_config_dict(
    "config", common.get_config(), flag_values=holder, sys_argv=line
  )
  holder(line)
  return holder.config, config_flags.get_override_values(holder["config"])


@pytest.mark.parametrize(
  ("argument", "expected"),
  [
    ("model.scenes_per_block=16", 16),
    ("model.scenes_per_block=auto", "auto"),
    ("model.scenes_per_block=None", None),
    ("model.scenes_per_block=0", None),
    ("model.scenes_per_block=-1", "auto"),
    ("data.max_question_length=50", 50),
    ("data.max_question_length=0", None),
    ("data.max_question_length=None", None),
    ("optimizer.clip_norm=0.5", 0.5),
    ("optimizer.clip_norm=0", None),
    ("optimizer.clip_norm=None", None),
    ("train.updates_per_call=4", 4),
    ("train.updates_per_call=4.0", 4),
    ("data.max_question_length=5e1", 50),
    ("train.updates_per_call=0", "auto"),
    ("train.updates_per_call=auto", "auto"),
  ],
)
def test_command_lines_may_have_words_and_numbers(argument, expected):
  part, name = argument.split("=")[0].split(".")
  config, overrides = parse(f"--config.{argument}")
  found = read_config(config.to_dict())[part][name]
  assert found == expected
  assert isinstance(found, type(expected))
  # Into the config of a checkpoint, whose values had the type of numbers.
  saved = common.get_config().to_dict()
  saved["model"]["scenes_per_block"] = -1
  saved["data"]["max_question_length"] = 0
  saved["train"]["updates_per_call"] = 0
  assert read_config(saved, overrides)[part][name] == expected


def test_an_older_config_means_what_it_meant():
  saved = common.get_config().to_dict()
  saved["model"]["scenes_per_block"] = -1
  saved["data"]["max_question_length"] = 0
  saved["optimizer"]["clip_norm"] = 0.0
  saved["train"]["updates_per_call"] = 0
  del saved["data"]["cache"]
  config = common.get_config()
  config.optimizer.clip_norm = None
  assert read_config(saved) == read_config(config.to_dict())
  assert read_config(saved).to_dict() == config.to_dict()


def test_what_an_older_config_lacks_is_the_default_at_any_depth():
  saved = common.get_config().to_dict()
  del saved["model"]["head"]["pooling"], saved["model"]["encoder"]
  assert read_config(saved).to_dict() == common.get_config().to_dict()
  del saved["model"]["head"]
  assert read_config(saved).to_dict() == common.get_config().to_dict()


def test_auto_is_what_suits_the_machine(monkeypatch):
  pixels, states = original_fp.get_config(), common.get_config()
  assert resolve(pixels).model.scenes_per_block == 1
  assert resolve(states).model.scenes_per_block == 32
  wide = states.copy_and_resolve_references()
  wide.model.g_units = (512, 512, 512, 512)
  assert resolve(wide).model.scenes_per_block == 16
  assert resolve(states).train.updates_per_call == 1
  assert states.model.scenes_per_block == "auto"  # a copy is resolved
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert resolve(states).model.scenes_per_block is None
  assert resolve(states).train.updates_per_call == 10
  states.data.on_device = False
  states.model.scenes_per_block = 4
  assert resolve(states).train.updates_per_call == 1
  assert resolve(states).model.scenes_per_block == 4


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("model.scenes_per_block=many", "'many', not 'auto', None or a number"),
    ("model.scenes_per_block=-2", "-2, not 'auto'"),
    ("data.max_question_length=auto", "'auto', not None or a number"),
  ],
)
def test_other_words_are_refused(argument, message):
  config, _ = parse(f"--config.{argument}")
  with pytest.raises(ValueError, match=message):
    resolve(config)


@pytest.mark.parametrize(
  ("inputs", "name"), [("states", "augment"), ("pixels", "boxes")]
)
def test_what_does_not_go_with_the_inputs_is_refused(inputs, name):
  config = common.get_config()
  config.model.inputs = inputs
  config.data[name] = True
  with pytest.raises(ValueError, match=rf"data\.{name} goes with.*{inputs}"):
    resolve(config)


def test_colors_are_not_exchanged_in_pictures():
  config = common.get_config()
  config.model.inputs = "pixels"
  config.data.symmetries = ("mirror",)
  assert resolve(config).data.symmetries == ("mirror",)
  config.data.symmetries = ("colors", "mirror")
  with pytest.raises(ValueError, match="exchange colors in state descr"):
    resolve(config)


@pytest.mark.parametrize(
  ("on_device", "length", "fits"),
  [(True, 50, False), (False, None, False), (False, 50, True)],
)
def test_shards_of_ones_own_are_gathered_by_the_host(on_device, length, fits):
  config = common.get_config()
  config.data.update(on_device=on_device, max_question_length=length)
  resolve(config)
  config.data.own_shards = True
  with (
    contextlib.nullcontext()
    if fits
    else pytest.raises(
      ValueError, match=r"own_shards goes with.*on_device=False.*_length"
    )
  ):
    resolve(config)
