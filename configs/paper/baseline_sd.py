r"""The beginning of Messina et al. 2020, from state descriptions.

    python launch.py --config=configs/paper/baseline_sd.py --workdir=W \
        --config.data.dir=RECORDS

As configs/paper/baseline.py, but for what is seen and the network's widths,
which are those of configs/original_sd.py, and with the question inverted, which
the paper found to be a key detail. It gives no accuracy for just this.
"""

import ml_collections

from configs import original_sd
from configs.paper.baseline import begin


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = begin(original_sd.get_config())
  config.model.padding = "front"
  return config
