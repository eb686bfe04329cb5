r"""An RN from pixels, on objects that it was taught to find.

    python -m rn_jax.train_finder --records_dir=RECORDS --output=FINDER \
        --epochs=18
    python launch.py --config=configs/found_fp.py --workdir=W \
        --config.data.dir=RECORDS \
        --config.train.init_from=pretrained/original_sd,FINDER

With 20,000 pictures for the finder it is right on 93.2 % of 1,000 questions
about Blender's pictures, and 92.8 % of 20,000 about pictures drawn here; the
second command added nothing to that. See pretrained/found_fp and
docs/training.md.
"""

import ml_collections

from configs import headline_sd
from rn_jax.default_config import FINDER_CHANNELS


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = headline_sd.get_config()
  config.generate.num_train_scenes = 0
  config.generate.num_val_scenes = 0
  config.data.curriculum = ()
  config.data.questions_per_scene = 10
  config.model.inputs = "pixels"
  config.model.objects = "found"
  config.model.conv_channels = FINDER_CHANNELS
  config.optimizer.learning_rate = 5e-5
  config.optimizer.hold_epochs = 0.0
  config.train.init_parts = "all"
  config.train.batch_size = 160
  config.train.num_epochs = 1.0
  return config
