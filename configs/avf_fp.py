"""AVF-RN from pixels: pairs are aggregated before the question is known.

    python launch.py --config=configs/avf_fp.py --workdir=W \
        --config.data.dir=RECORDS --config.train.init_from=IR_FP_WORKDIR

g_theta ends in 512 channels whose weighted sum over the 4,096 pairs, one
learned weight per pair position, is the image's descriptor; the question
joins one layer later (Messina et al. 2019). 801,508 parameters with 82 words
and 28 answers. The paper reports accuracy near 65 %; this project has not
trained it on CLEVR. All questions of a scene share its descriptor, so training
batches hold ten questions per scene.

As in the paper, init_from takes the convolutions and g_0 and g_1 of a 2S-RN
(configs/ir_fp.py, or its imported weights); without it all layers are fresh.
"""

import ml_collections

from configs import original_fp


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = original_fp.get_config()
  config.model.bidirectional = True
  config.model.g_units = (256, 256, 256, 512)
  config.model.aggregation = "weighted"
  config.model.f_units = (256, 256, 256)
  config.model.f_dropout = (0.0, 0.0, 0.5)
  config.model.question_layer = 5
  config.data.questions_per_scene = 10
  config.optimizer.clamp = True
  return config
