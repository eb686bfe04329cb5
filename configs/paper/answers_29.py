r"""A 29th answer that is never right.

    python launch.py --config=configs/paper/answers_29.py --workdir=W \
        --config.data.dir=RECORDS

Santoro et al. 2017 write of 29 units where CLEVR has 28 answers; the paper has
28 (section 2.1).
"""

import ml_collections

from configs.paper import baseline


def get_config() -> ml_collections.ConfigDict:
  """Returns the experiment."""
  config = baseline.get_config()
  config.model.spare_answers = 1
  return config
