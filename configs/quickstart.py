"""placeholder"""

import ml_collections
from configs import common


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  return common.get_config()
