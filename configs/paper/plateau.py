r"""A rate that is halved where the loss stays (section 4, Schedulers).

    python launch.py --config=configs/paper/plateau.py --workdir=W \
        --config.data.dir=RECORDS

The paper: no schedule that lets the rate fall gave more accuracy, whatever the
length and the factor of its steps, which it does not say.
"""

import ml_collections

from configs.paper import inverted


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = inverted.get_config()
  config.optimizer.schedule = "plateau"
  return config
