"""2S-RN from states as the reference implementation reads its input.

    python launch.py --config=configs/ir_sd_reference.py --workdir=W \
        --config.data.dir=RECORDS

Attributes are raw indices, all twelve rows count as objects, and questions are
read together with the padding in front of them.

The reference publishes no accuracy for it.
"""

import ml_collections

from configs import common, ir_sd


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = ir_sd.get_config()
  common.use_reference_semantics(config)
  return config
