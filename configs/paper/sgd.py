r"""Plain gradient descent, at the rate of Adam (section 4).

    python launch.py --config=configs/paper/sgd.py --workdir=W \
        --config.data.dir=RECORDS

The paper: too slow to learn from. In 50 epochs nothing of number and color, and
the kinds of answers were not told apart, which Adam did after 5 to 7.
"""

import ml_collections

from configs.paper import inverted


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = inverted.get_config()
  config.optimizer.name = "sgd"
  config.optimizer.momentum = 0.0
  return config
