r"""Any experiment of this folder at a size for two CPU cores.

    python -m rn_jax.sweep --workdir=W --seeds=3 \
        --configs=configs/paper/small.py:baseline_sd,configs/paper/small.py:sgd

The text after the colon names one of the other files. What an experiment is
about stays; the network, the data and all that lasts some epochs become small,
and all rates five times as large, so that something is learned in that time. It
makes its data, questions without a relation, and reads states; a run reads 0.7
million questions. What goes on from a trained CNN wants --set=data.dir=RECORDS,
with pictures of 128x128. docs/experiments.md has what came of it.
"""

import importlib
from pathlib import Path

import ml_collections

# So many epochs of the paper are one of these.
_SHORTER = 20
_FASTER = 5


def get_config(name: str = "baseline_sd") -> ml_collections.ConfigDict:
  """Returns the experiment of another file of this folder, made small."""
  folder = Path(__file__).parent
  names = {path.stem for path in folder.glob("*.py")} - {"small"}
  if name not in names:
    raise ValueError(f"no configs/paper/{name}.py: {', '.join(sorted(names))}")
  config = importlib.import_module(f"configs.paper.{name}").get_config()
  model, optimizer, train = config.model, config.optimizer, config.train
  if not train.init_from:
    model.inputs = "states"
    config.data.augment = False  # which is for pictures
    config.generate.num_train_scenes = 10_000
    config.generate.num_val_scenes = 1_000
    config.generate.templates = ("zero_hop",)
  model.lstm_units = 64
  model.g_units = (128,) * len(model.g_units)
  model.f_units = (128,) * len(model.f_units)
  model.scenes_per_block = 8
  optimizer.learning_rate *= _FASTER
  optimizer.initial_learning_rate *= _FASTER
  optimizer.double_every = max(1, optimizer.double_every // _SHORTER)
  optimizer.decay_epochs /= _SHORTER
  optimizer.patience = 2
  # A tenth of the questions an update: more updates for few questions.
  train.batch_size = max(16, train.batch_size // 10)
  train.max_batch_size = max(64, train.max_batch_size // 10)
  train.double_batch_every /= _SHORTER
  train.num_epochs = 12.0
  train.eval_every = 0.5
  train.log_every = 250
  train.cpu_devices = "auto"
  return config
