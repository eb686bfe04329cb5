r"""Questions without punctuation marks.

    python launch.py --config=configs/paper/punctuation_drop.py --workdir=W \
        --config.data.dir=RECORDS

Not in the paper, which left marks on words or split them off (section 4).
"""

import ml_collections

from configs.paper import baseline


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = baseline.get_config()
  config.data.punctuation = "drop"
  return config
