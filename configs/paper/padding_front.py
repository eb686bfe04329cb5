r"""The question as it stands, with its padding read first.

    python launch.py --config=configs/paper/padding_front.py --workdir=W \
        --config.data.dir=RECORDS

Not in the paper, whose code turns the padding around with the question. With
the other files about padding this tells apart what each of them does.
"""

import ml_collections

from configs.paper import baseline


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = baseline.get_config()
  config.model.padding = "front"
  return config
