"""RN from pixels (Santoro et al. 2017), trained with the reference's recipe.

    python launch.py --config=configs/original_fp.py --workdir=W \
        --config.data.dir=RECORDS

484,580 parameters with CLEVR's 82 words and 28 answers. The reference
reached 93.6 % on CLEVR val at epoch 493, after about ten days on two K40
cards; this project has not trained it on CLEVR.

The mean over pairs takes the place of the sum, which the reference takes: with
64 cells it is the same network but for a factor, and learns from the first
update on (docs/training.md).

An update of 640 questions in float32 wants about 20 GB for intermediate
results (`python -m benchmarks.cost`). bfloat16 (--config.model.dtype) takes
less, --config.model.scenes_per_block=64 bounds them, more devices share them.
"""

import ml_collections

from configs import common


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = common.get_config()
  config.model.inputs = "pixels"
  config.model.aggregation = "mean"
  config.data.augment = True
  config.train.num_epochs = 500.0
  return config
