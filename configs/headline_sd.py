"""The headline from states: an RN that answers all of CLEVR's questions.

    python launch.py --config=configs/headline_sd.py --workdir=W

Makes its data (140,000 scenes, 1.4 million questions of all families) and
trains in stages: attributes of one object, comparisons of two and one relation,
then all families, all of them in small scenes first; and then everything. With
--config.generate.language_dir=FOLDER the questions have CLEVR's own words.

With these, three seeds were right on 96.4, 95.9 and 96.0 % of 20,000 other
questions, where the question alone gives 44.0 %, after 110 minutes on two x86
cores that other programs used as well, data included. headline_longer_sd.py
goes on from there; docs/training.md says what else was tried.
"""

import ml_collections

from configs import common


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = common.get_config()
  config.generate.num_train_scenes = 140_000
  config.generate.num_val_scenes = 2_000
  config.generate.min_visible_pixels = 200

  config.model.lstm_units = 128
  config.model.g_units = (192, 192, 192, 192)
  config.model.f_units = (256, 256)
  config.model.f_dropout = (0.0, 0.0)
  config.model.scenes_per_block = 8

  config.data.curriculum = (
    "zero_hop up to 5 objects: 100_000",
    "zero_hop comparison/0-3 up to 5 objects: 500_000 or 0.97",
    "zero_hop one_hop comparison up to 5 objects: 1_000_000 or 0.95",
    "all up to 5 objects: 2_000_000 or 0.95",
    "all up to 7 objects: 2_000_000 or 0.95",
  )

  config.optimizer.schedule = "cosine"
  config.optimizer.learning_rate = 7e-4
  config.optimizer.warmup_epochs = 0.025
  config.optimizer.hold_epochs = 5.0
  config.optimizer.weight_decay = 0.0
  config.optimizer.clip_norm = 1.0

  config.train.cpu_devices = "auto"
  config.train.batch_size = 64
  config.train.num_epochs = 12.0
  config.train.eval_every = 0.25
  config.train.log_every = 500
  return config
