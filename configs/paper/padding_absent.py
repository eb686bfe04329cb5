r"""The question as it stands, without padding.

    python launch.py --config=configs/paper/padding_absent.py --workdir=W \
        --config.data.dir=RECORDS

Not in the paper. With the other files about padding this tells apart what
inversion and padding do.
"""

import ml_collections

from configs.paper import baseline


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = baseline.get_config()
  config.model.padding = "absent"
  return config
