"""The lock of those who write a split of a folder in CLEVR's layout."""

import contextlib
from pathlib import Path

from rn_jax.host.exclusive import exclusive


def alone(
  output_dir: Path, split: str, what: Path | None = None
) -> contextlib.AbstractContextManager[None]:
  """Keeps other runs that make scenes or pictures out of a split.

  Args:
    output_dir: Folder in CLEVR's layout.
    split: Name of the split.
    what: What is written meanwhile; None: the folder.

  Raises:
    BusyError: Another run is at it.
  """
  return exclusive(output_dir / f".generate-{split}.lock", what=what)
