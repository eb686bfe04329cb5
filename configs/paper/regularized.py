r"""Gradients clipped, weights decaying (section 4).

    python launch.py --config=configs/paper/regularized.py --workdir=W \
        --config.data.dir=RECORDS

The paper: training became more stable, accuracy did not change. How much of
either it does not say; these are its code's values.
"""

import ml_collections

from configs.paper import baseline


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = baseline.get_config()
  config.optimizer.clip_norm = 50.0
  config.optimizer.weight_decay = 1e-4
  return config
