"""AVF-RN from state descriptions.

    python launch.py --config=configs/avf_sd.py --workdir=W \
        --config.data.dir=RECORDS --config.train.init_from=IR_SD_WORKDIR

g_theta has two layers, 512 and 2,048; their sum over pairs is the descriptor,
and the question joins two layers later. 5,105,788 parameters with 82 words and
28 answers. No accuracy is published, and this project has not trained it on
CLEVR; docs/rankings.md has a smaller one, of scenes made here. Of a 2S-RN
(configs/ir_sd.py) init_from takes g_0, whose width is the same; without it all
layers are fresh.
"""

import ml_collections

from configs import original_sd


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = original_sd.get_config()
  config.model.bidirectional = True
  config.model.lstm_units = 256
  config.model.g_units = (512, 2048)
  config.model.g_dropout = (0.3, 0.0)
  config.model.aggregation = "sum"
  config.model.f_units = (512, 512, 1024, 1024)
  config.model.f_dropout = (0.0, 0.0, 0.3, 0.0)
  config.model.question_layer = 4
  config.data.questions_per_scene = 10
  config.optimizer.clamp = True
  return config
