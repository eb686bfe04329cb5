"""The folder for what can always be made again."""

import os
from pathlib import Path


def user_cache_dir() -> Path:
  """Returns $XDG_CACHE_HOME/rn_jax, by default ~/.cache/rn_jax."""
  root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
  return Path(root) / "rn_jax"
