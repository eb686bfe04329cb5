r"""The RN as Messina et al. 2020 began: "the original configuration".

    python launch.py --config=configs/paper/baseline.py --workdir=W \
        --config.data.dir=RECORDS

From pixels: the paper's sections 2.1 and 3. Adam at a constant 1e-4, questions
read from their first word on, padding behind them, marks left on the words, no
regularisation but dropout. The paper's accuracy on CLEVR val is about 53 %,
with color and material at chance (Fig. 2). Of the batch it says nothing; 640 is
its code's. This project has not trained it, or any other of this folder, on
CLEVR.

The other files of this folder change one thing each: of this file, of
baseline_sd.py or of inverted.py, which changes how questions are read and
padded; but warm-ups come with their schedule and rates. configs/paper/small.py
makes any of them small enough for a CPU.
"""

import ml_collections

from configs import original_fp


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = begin(original_fp.get_config())
  config.model.aggregation = "sum"
  config.model.reverse_question = False
  config.model.padding = "behind"
  return config


def begin(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Puts marks, rate and regularisation back to how the paper began."""
  config.data.punctuation = "keep"
  config.optimizer.schedule = "constant"
  config.optimizer.learning_rate = 1e-4
  config.optimizer.weight_decay = 0.0
  config.optimizer.clip_norm = None
  return config
