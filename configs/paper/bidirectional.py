r"""Questions read in both directions.

    python launch.py --config=configs/paper/bidirectional.py --workdir=W \
        --config.data.dir=RECORDS

The paper assumed an LSTM in one direction (section 2.1); its later AVF-RN reads
in both.
"""

import ml_collections

from configs.paper import inverted


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = inverted.get_config()
  config.model.bidirectional = True
  return config
