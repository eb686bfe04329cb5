"""Config values that stand for something: "auto", None, and older numbers."""

from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
from ml_collections.config_dict import FieldReference

from rn_jax.clevr import MAX_OBJECTS
from rn_jax.config_checks import WHOLE, check_values
from rn_jax.default_config import get_config
from rn_jax.models.blocks import scenes_in_cache
from rn_jax.models.relation.head import make_head
from rn_jax.models.relation_network import picture_objects

# Types that products can have.
DTYPES = ("float32", "bfloat16", "float16")

# Values that may be None, some of them "auto", and what numbers of each meant
# before they could; files and command lines may still have those.
_NUMBERS = {
  ("model", "scenes_per_block"): {-1: "auto", 0: None},
  ("data", "max_question_length"): {0: None},
  ("optimizer", "clip_norm"): {0: None},
  ("train", "updates_per_call"): {0: "auto"},
  ("train", "cpu_devices"): {0: "auto"},
  ("train", "max_minutes"): {},
}

# What config.train.max_minutes may make shorter; see pace.py. These are counted
# in epochs,
LENGTHS = (
  "train.num_epochs",
  "train.eval_every",
  "train.double_batch_every",
  "optimizer.warmup_epochs",
  "optimizer.hold_epochs",
  "optimizer.decay_epochs",
  "optimizer.double_every",
)
STAGES = "data.curriculum"
PATIENCE = "optimizer.patience"  # and this in evaluations


def read_config(
  saved: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> ml_collections.ConfigDict:
  """Returns a config of a checkpoint as configs/common.py would have it.

  Args:
    saved: The whole config, by whatever version.
    overrides: Values to put into it, by dotted key ("data.dir").

  Raises:
    ValueError: A value is neither a number nor a word that it may be.
  """
  config = ml_collections.ConfigDict(saved)
  defaults = get_config()
  if "exact_lengths" in config.model:  # until the place of padding was a choice
    read = "front" if config.model.reverse_question else "behind"
    config.model.padding = "absent" if config.model.exact_lengths else read
    del config.model["exact_lengths"]
  for part in ("model", "data", "optimizer", "train"):
    if part == "model" and "g_units" not in config.model:
      continue  # the multi-label CNN, whose model has other keys
    if part in config:
      _complete(config[part], defaults[part])
  known = [key for key in _NUMBERS if key[1] in config.get(key[0], {})]
  for part, name in known:
    # Of type object, so that words may replace numbers.
    value = config[part][name]
    del config[part][name]
    config[part][name] = FieldReference(value, field_type=object)
  config.update_from_flattened_dict(dict(overrides or {}))
  for part, name in known:
    value, meanings = config[part][name], _NUMBERS[part, name]
    value = meanings.get(value, value)
    if f"{part}.{name}" in WHOLE and isinstance(value, float):
      value = int(value) if value.is_integer() else value  # else it is refused
    config[part][name] = value
    number = isinstance(value, int | float) and value > 0
    if not (number or value is None or value in meanings.values()):
      auto = "'auto', " * ("auto" in meanings.values())
      raise ValueError(
        f"config.{part}.{name} is {value!r}, not {auto}None or a number above 0"
      )
  if (dtype := config.model.get("dtype", "float32")) not in DTYPES:
    raise ValueError(
      f"config.model.dtype is {dtype!r}, not one of {', '.join(DTYPES)}"
    )
  return config


def _complete(
  config: ml_collections.ConfigDict, defaults: ml_collections.ConfigDict
) -> None:
  """Puts in what is younger than the file that the config is of."""
  for key, value in defaults.items():
    if key not in config:
      config[key] = value
    elif isinstance(value, ml_collections.ConfigDict):
      _complete(config[key], value)


def resolve(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Returns a copy of a config in which "auto" is what suits this machine.

  Raises:
    ValueError: A value is none that it may be.
  """
  config = read_config(config.to_dict())
  check_values(config)
  on_cpu = jax.default_backend() == "cpu"
  model, data, train = config.model, config.data, config.train
  for name, inputs in (("augment", "pixels"), ("boxes", "states")):
    if data.get(name) and model.get("inputs", inputs) != inputs:
      raise ValueError(
        f"config.data.{name} goes with config.model.inputs={inputs!r}, which "
        f"is {model.inputs!r}; set it to False"
      )
  if "colors" in data.get("symmetries", ()) and model.inputs != "states":
    raise ValueError(
      "config.data.symmetries can exchange colors in state descriptions only; "
      'from pixels set it to (), or to ("mirror",)'
    )
  if data.get("own_shards") and (
    data.on_device or data.max_question_length is None
  ):
    raise ValueError(
      "config.data.own_shards goes with config.data.on_device=False, for the "
      "host gathers its part of a batch, and with a number for "
      "config.data.max_question_length, such as 50: processes do not see each "
      "other's longest question"
    )
  if model.scenes_per_block == "auto":
    # A block that stays in a CPU's cache; see benchmarks/relation_core.py.
    activations = make_head(model).activations(num_objects(config))
    model.scenes_per_block = scenes_in_cache(activations) if on_cpu else None
  if train.get("updates_per_call") == "auto":
    # Calls cost little on a CPU; batches sent from the host are large.
    one = on_cpu or not data.on_device
    train.updates_per_call = 1 if one else min(10, train.log_every)
  return config


def num_objects(config: ml_collections.ConfigDict) -> int:
  """Returns N of a config: its cells, or as many objects as there can be."""
  if config.model.inputs == "states":
    return config.data.max_objects
  objects = picture_objects(config.model)
  if objects == "found":
    return MAX_OBJECTS
  if objects == "regions":
    return config.model.regions**2
  side = config.data.image_size
  for _ in config.model.conv_channels:
    side = -(-side // 2)
  return side**2
