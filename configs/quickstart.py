"""The quickstart: a small RN on state descriptions, on a CPU, in minutes.

    python launch.py --config=configs/quickstart.py --workdir=W

Generates 20,000 scenes of 3 to 10 objects with 200,000 questions of the
zero-hop and one-hop families (count, exist and query, with and without a
spatial relation), and trains on them for four epochs. On two x86 cores that
takes two to three minutes and reaches 93.3 % on 10,000 other questions, where
the question alone gives 40.0 %.
"""

import ml_collections

from configs import common


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = common.get_config()
  config.generate.num_train_scenes = 20_000
  config.generate.num_val_scenes = 1_000
  config.generate.templates = ("zero_hop", "one_hop")

  config.model.lstm_units = 64
  config.model.g_units = (128, 128, 128)
  config.model.g_dropout = (0.0, 0.0, 0.0)
  config.model.f_units = (128, 128)
  config.model.f_dropout = (0.0, 0.0)
  config.model.scenes_per_block = 8

  config.optimizer.schedule = "cosine"
  config.optimizer.learning_rate = 2e-3
  config.optimizer.warmup_epochs = 0.2
  config.optimizer.weight_decay = 0.0
  config.optimizer.clip_norm = 1.0

  config.train.cpu_devices = "auto"
  config.train.batch_size = 64
  config.train.num_epochs = 4.0
  config.train.eval_every = 0.5
  config.train.log_every = 250
  return config
