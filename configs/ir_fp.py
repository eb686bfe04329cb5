"""2S-RN from pixels: the question joins at g_theta's third layer.

    python launch.py --config=configs/ir_fp.py --workdir=W \
        --config.data.dir=RECORDS

What g_theta's first two layers say about a pair does not depend on the
question, so it can describe an image for retrieval (Messina et al. 2018).
The reference's weights of epoch 312 reach about the accuracy of the RN.
"""

import ml_collections

from configs import original_fp


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = original_fp.get_config()
  config.model.question_layer = 2
  config.train.num_epochs = 350.0
  return config
