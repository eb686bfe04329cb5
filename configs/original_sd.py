"""RN from state descriptions (Santoro et al. 2017), reference's recipe.

    python launch.py --config=configs/original_sd.py --workdir=W \
        --config.data.dir=RECORDS

The reference reached 97.9 % on CLEVR val with raw attribute indices and
padding counted (configs/original_sd_reference.py); here objects are one-hot,
masked, and questions are read at their exact lengths. Not trained on CLEVR by
this project. An update wants about 1.4 GB; any GPU will do.
"""

import ml_collections

from configs import common


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = common.get_config()
  config.model.inputs = "states"
  config.model.lstm_units = 256
  config.model.g_units = (512, 512, 512, 512)
  config.model.f_units = (512, 1024)
  config.model.f_dropout = (0.0, 0.05)
  return config
