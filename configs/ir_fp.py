"""2S-RN from pixels: the question joins at g_theta's third layer.

    python launch.py --config=configs/ir_fp.py --workdir=W \
        --config.data.dir=RECORDS

What g_theta's first two layers say about a pair does not depend on the
question, so it can describe an image for retrieval (Messina et al. 2018).
The reference's weights, of epoch 312, are as accurate as the RN's (README);
this project has not trained it on CLEVR. Memory as for configs/original_fp.py.
--config.data.questions_per_scene=10 shares those two layers among the ten
questions of a scene, for questions that are less mixed.
"""

import ml_collections

from configs import original_fp


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = original_fp.get_config()
  config.model.question_layer = 2
  config.train.num_epochs = 350.0
  return config
