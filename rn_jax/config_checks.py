"""Config values that no run can have, found before anything is done."""

import math
from typing import Any

import ml_collections

_LEAST = {
  "seed": 0,
  "data.image_size": 1,
  "data.max_objects": 1,
  "data.questions_per_scene": 1,
  "eval.batch_size": 1,
  "model.embedding_size": 1,
  "model.head.key_width": 1,
  "model.head.layers": 0,
  "model.head.num_relations": 1,
  "model.head.width": 1,
  "model.lstm_units": 1,
  "model.regions": 1,
  "model.spare_answers": 0,
  "train.batch_size": 1,
}
# Beside words, they may be numbers of this kind.
WHOLE = (
  "data.max_question_length",
  "model.scenes_per_block",
  "train.cpu_devices",
  "train.updates_per_call",
)
_ABOVE_0 = (
  "optimizer.learning_rate",
  "train.eval_every",
  "train.log_every",
  "train.num_epochs",
)

_YEAR = 366 * 24 * 60  # minutes


def check_values(config: ml_collections.ConfigDict) -> None:
  """Checks numbers of a config, those that it has.

  Raises:
    ValueError: One is out of its range; the message names it.
  """
  for key, least in _LEAST.items():
    value = _get(config, key)
    if value is not None and value < least:
      raise ValueError(f"config.{key} is {value}, must be at least {least}")
  for key in WHOLE:
    value = _get(config, key)
    if isinstance(value, float) and not value.is_integer():
      raise ValueError(f"config.{key} is {value}, must be a whole number")
  for key in _ABOVE_0:
    value = _get(config, key)
    if value is not None and not value > 0:
      raise ValueError(f"config.{key} is {value}, must be above 0")
  if not math.isfinite(_get(config, "train.double_batch_every") or 0):
    raise ValueError(
      "config.train.double_batch_every must be finite; 0 is for batches that "
      "do not grow"
    )
  if not math.isfinite(_get(config, "train.num_epochs") or 0):
    raise ValueError(
      "config.train.num_epochs must be finite; config.train.max_minutes makes "
      "a long training shorter"
    )
  minutes = _get(config, "train.max_minutes")
  if isinstance(minutes, int | float) and not minutes <= _YEAR:
    raise ValueError(
      f"config.train.max_minutes is {minutes:g}, more than a year; None is for "
      "a training that takes its time"
    )
  if _get(config, "model.g_units") == ():
    raise ValueError("config.model.g_units is empty; g_theta needs a layer")
  for key in "model.g_units", "model.f_units", "model.conv_channels":
    if min(_get(config, key) or (1,)) < 1:
      raise ValueError(
        f"config.{key} is {_get(config, key)}; each is 1 or more"
      )


def check_training(config: ml_collections.ConfigDict) -> None:
  """Checks numbers of a config to train with, which are more.

  Raises:
    ValueError: One is out of its range; the message names it.
  """
  check_values(config)
  if _get(config, "model.dtype") == "float16":
    raise ValueError(
      "config.model.dtype is float16, in which most gradients of a training "
      "are 0; train with bfloat16 (a trained network can be asked in float16)"
    )
  for part in ("g", "f"):
    units = _get(config, f"model.{part}_units") or ()
    rates = _get(config, f"model.{part}_dropout") or ()
    if len(units) != len(rates):
      raise ValueError(
        f"config.model.{part}_dropout has {len(rates)} rates for the "
        f"{len(units)} layers of config.model.{part}_units"
      )
    if not all(0 <= rate < 1 for rate in rates):
      raise ValueError(
        f"config.model.{part}_dropout is {rates}; a rate is at least 0 and "
        "below 1"
      )


def _get(config: ml_collections.ConfigDict, key: str) -> Any:
  """Returns a value by its dotted key; None where there is none."""
  value: Any = config
  for name in key.split("."):
    if value is None:
      return None
    value = value.get(name)
  return value
