r"""The paper's warm-up as its code has it: from 5e-6 to 6.4e-4.

    python launch.py --config=configs/paper/warmup_code_fp.py --workdir=W \
        --config.data.dir=RECORDS

The code doubles while the rate is below 5e-4, and so ends at 6.4e-4; its
published weights are from this. The paper writes of 1e-6 and 1e-4, and of 93.6
%.
"""

import ml_collections

from configs.paper import warmup_fp


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = warmup_fp.get_config()
  config.optimizer.initial_learning_rate = 5e-6
  config.optimizer.learning_rate = 5e-4
  config.optimizer.clamp = False
  return config
