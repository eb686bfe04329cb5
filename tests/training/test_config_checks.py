"""Numbers that no run can have are named before anything is done."""

import math

import pytest

from configs import common
from rn_jax.config_checks import check_training, check_values
from rn_jax.settings import resolve


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"train.batch_size": 0}, "config.train.batch_size is 0, must be at least"),
    ({"data.questions_per_scene": 0}, "questions_per_scene is 0"),
    ({"eval.batch_size": -1}, "config.eval.batch_size is -1"),
    ({"model.lstm_units": 0}, "lstm_units is 0"),
    ({"model.spare_answers": -30}, "spare_answers is -30, must be at least 0"),
    ({"seed": -1}, "config.seed is -1"),
    (
      {"train.updates_per_call": 2.5},
      "updates_per_call is 2.5, must be",
    ),
    ({"optimizer.learning_rate": 0.0}, "learning_rate is 0.0, must be above 0"),
    (
      {"train.num_epochs": math.inf},
      "must be finite; .*max_minutes",
    ),
    ({"train.num_epochs": math.nan}, "num_epochs is nan"),
    ({"model.g_units": ()}, "g_units is empty"),
    ({"model.g_units": (32, 0)}, "g_units is .32, 0.; each is 1 or more"),
    ({"model.head.num_relations": 0}, "num_relations is 0"),
    ({"train.double_batch_every": math.inf}, "0 is for batches that do not"),
    ({"train.cpu_devices": 1.5}, "cpu_devices is 1.5, must be a whole number"),
    ({"train.max_minutes": 1e14}, r"max_minutes is 1e\+14, more than a year"),
  ],
)
def test_a_number_out_of_its_range_is_named(changes, message):
  config = common.get_config()
  config.update_from_flattened_dict(changes)
  for check in check_values, check_training, resolve:
    with pytest.raises(ValueError, match=message):
      check(config)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"model.f_units": (32, 32, 32)}, "f_dropout has 2 rates for the 3 layers"),
    ({"model.f_dropout": (1.5, 0.0)}, "f_dropout is .1.5, 0.0.; a rate is at"),
    ({"model.g_dropout": (1.0,) * 4}, "g_dropout is"),
    ({"model.dtype": "float16"}, "most gradients .* are 0; .*bfloat16"),
  ],
)
def test_what_can_be_asked_need_not_be_fit_for_training(changes, message):
  config = common.get_config()
  check_training(config)
  config.update_from_flattened_dict(changes)
  check_values(config)  # an older network may have such, and is still asked
  with pytest.raises(ValueError, match=message):
    check_training(config)
