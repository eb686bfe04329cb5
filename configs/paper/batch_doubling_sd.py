r"""Batches that double every 45 epochs from 32 to 640 (section 4).

    python launch.py --config=configs/paper/batch_doubling_sd.py --workdir=W \
        --config.data.dir=RECORDS

From states, the rate constant, after Smith et al. 2018. The paper: 85 %.
"""

import ml_collections

from configs.paper import baseline_sd


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = baseline_sd.get_config()
  config.train.batch_size = 32
  config.train.double_batch_every = 45.0
  config.train.max_batch_size = 640
  return config
