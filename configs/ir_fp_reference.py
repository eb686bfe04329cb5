"""2S-RN from pixels as the reference implementation reads its input.

    python launch.py --config=configs/ir_fp_reference.py --workdir=W \
        --config.data.dir=RECORDS

Pairs are added up, and questions are read together with the padding in front of
them. The published weights of the reference need this; a network trained from
scratch does not.

The reference reached about the same as the RN on CLEVR val (epoch 312).
"""

import ml_collections

from configs import common, ir_fp


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = ir_fp.get_config()
  common.use_reference_semantics(config)
  return config
