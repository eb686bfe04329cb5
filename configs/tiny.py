"""Any of the networks at toy size, for tests and first looks.

    python launch.py --config=configs/tiny.py:ir_sd --workdir=W \
        --config.data.dir=RECORDS

Seconds on a CPU; images are 32x32. The text after the colon names one of the
other config files.
"""

import importlib
import math
from pathlib import Path

import ml_collections


def get_config(name: str = "original_sd") -> ml_collections.ConfigDict:
  """Returns the experiment of another config file, made small."""
  names = {path.stem for path in Path(__file__).parent.glob("*.py")}
  if name not in names:
    raise ValueError(f"no configs/{name}.py: {', '.join(sorted(names))}")
  config = importlib.import_module(f"configs.{name}").get_config()
  model = config.model
  model.conv_channels = (8, 8, 8)
  model.embedding_size = 8
  model.lstm_units = 16
  model.g_units = (32,) * len(model.g_units)
  model.f_units = (32,) * len(model.f_units)
  model.head.width = 32
  model.head.num_relations = 4
  model.head.key_width = 8
  data = config.data
  data.image_size = 32
  data.curriculum = ()
  data.questions_per_scene = math.gcd(40, data.questions_per_scene)
  config.train.init_from = ""
  made = config.generate  # 0: none are made, and data.dir is to be given
  made.num_train_scenes = min(400, made.num_train_scenes)
  made.num_val_scenes = min(100, made.num_val_scenes)
  # So few pairs need no blocks, which take longer to compile.
  config.model.scenes_per_block = None
  config.optimizer.schedule = "constant"
  config.optimizer.learning_rate = 3e-3
  config.train.batch_size = 40
  config.train.num_epochs = 2.0
  config.train.log_every = 5
  config.eval.batch_size = 8
  return config
