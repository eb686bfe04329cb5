"""Progress bars that do not flood a log."""

import sys
from collections.abc import Iterable

from tqdm import tqdm

Bar = tqdm

# Seconds between two lines where each stays, as in a file.
_IN_A_LOG = 30


def progress_bar(iterable: Iterable | None = None, **options) -> tqdm:
  """Returns a bar of tqdm, with its options.

  It shows news every second on a terminal, every half minute elsewhere.
  """
  seconds = 1 if sys.stderr.isatty() else _IN_A_LOG
  return tqdm(iterable, mininterval=seconds, maxinterval=_IN_A_LOG, **options)
