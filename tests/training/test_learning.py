"""Every network can learn."""

import pytest

from rn_jax import train

SIX = ("original_fp", "original_sd", "ir_fp", "ir_sd", "avf_fp", "avf_sd")


@pytest.mark.parametrize("name", SIX)
def test_32_questions_are_learned_by_heart(name, make_config, tmp_path):
  config = make_config(
    name,
    **{
      "data.eval_split": "train",
      "data.augment": False,
      "train.batch_size": 40,
      "train.num_epochs": 120.0,
      "train.eval_every": 120.0,
      "train.log_every": 60,
      "optimizer.learning_rate": 3e-3,
      "optimizer.weight_decay": 0.0,
    },
  )
  config.model.g_dropout = (0.0,) * len(config.model.g_units)
  config.model.f_dropout = (0.0,) * len(config.model.f_units)
  result = train.train(config, tmp_path)
  assert result["num_examples"] >= 32
  assert result["accuracy"] == 1.0
