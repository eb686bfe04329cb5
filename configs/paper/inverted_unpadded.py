r"""The inverted question without its padding.

    python launch.py --config=configs/paper/inverted_unpadded.py --workdir=W \
        --config.data.dir=RECORDS

Not in the paper: its code reads the padding first, and its published weights
need that; see docs/training.md.
"""

import ml_collections

from configs.paper import inverted


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = inverted.get_config()
  config.model.padding = "absent"
  return config
