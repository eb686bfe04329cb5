"""Compiled programs kept on disk, so that a later start does not compile."""

import hashlib
import platform
from pathlib import Path

import jax
from absl import logging

from rn_jax.host.user_cache import user_cache_dir


def enable(folder: str | None) -> None:
  """Tells JAX where to keep compiled programs, before it compiles any.

  Programs that took less than a second to compile are not kept (JAX's
  jax_persistent_cache_min_compile_time_secs).

  Args:
    folder: Where; None: what JAX was told already (JAX_COMPILATION_CACHE_DIR),
      or `xla/` in the user's cache folder; "": nowhere.
  """
  if folder is None:
    if jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
      return
    try:
      of_user = user_cache_dir() / "xla" / _cpu()
      of_user.mkdir(parents=True, exist_ok=True)
      folder = str(of_user)
    except OSError as error:
      logging.warning("Compiled programs are not kept: %s", error)
      folder = ""
  jax.config.update("jax_compilation_cache_dir", str(folder) or None)


def _cpu() -> str:
  """Names the kind of CPU, for programs compiled for it run on no other."""
  features = platform.processor()
  path = Path("/proc/cpuinfo")
  if path.exists():
    lines = path.read_text().splitlines()
    words = [x for x in lines if x.startswith(("flags", "Features"))][:1]
    features = "".join(words) or features
  digest = hashlib.sha256(features.encode()).hexdigest()
  return f"{platform.machine()}-{digest[:8]}"
