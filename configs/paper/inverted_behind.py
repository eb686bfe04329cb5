r"""The inverted question with its padding read last.

    python launch.py --config=configs/paper/inverted_behind.py --workdir=W \
        --config.data.dir=RECORDS

Not in the paper: its code reads the padding first.
"""

import ml_collections

from configs.paper import inverted


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = inverted.get_config()
  config.model.padding = "behind"
  return config
