"""All of CLEVR's questions from states, in few questions.

    python launch.py --config=configs/short_sd.py --workdir=W

The data and the network of headline_sd, and its stages made short: 2.1 million
questions in all, in place of 16.8. With these it was right on 85.3 % of 20,000
other questions (one seed), after 24 minutes on two x86 cores, data not counted.
The reference's log comes to 86 % after some 64 million.
"""

import ml_collections

from configs import headline_sd


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = headline_sd.get_config()
  config.data.curriculum = (
    "zero_hop up to 5 objects: 60_000",
    "zero_hop comparison/0-3 up to 5 objects: 300_000 or 0.95",
    "zero_hop one_hop comparison up to 5 objects: 300_000 or 0.93",
    "all up to 5 objects: 500_000",
  )
  config.optimizer.warmup_epochs = 0.02
  config.optimizer.hold_epochs = 0.7
  config.train.num_epochs = 1.5
  return config
