"""The folder for what can always be made again."""

import os
from pathlib import Path


def user_cache_dir() -> Path:
  """Returns $XDG_CACHE_HOME/rn_jax, by default ~/.cache/rn_jax.

  Raises:
    OSError: Nobody says where, as in a container whose user has no home.
  """
  root = os.environ.get("XDG_CACHE_HOME")
  if root:
    return Path(root) / "rn_jax"
  try:
    return Path.home() / ".cache" / "rn_jax"
  except RuntimeError as error:
    raise OSError(
      f"no place for a cache ({error}); name one: XDG_CACHE_HOME=FOLDER"
    ) from error


def in_user_cache(path: Path) -> bool:
  """Returns whether a path is in that folder."""
  try:
    return user_cache_dir() in path.parents
  except OSError:
    return False
