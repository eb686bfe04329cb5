"""What is wrong with a command line's config, in one line each."""

import difflib
import re
from pathlib import Path

from absl import flags

from rn_jax.default_config import get_config


def explain(error: Exception, argv: list[str], configs: Path) -> str:
  """Says what is wrong with flags, or with the config that they name.

  Args:
    error: What reading them has raised; a config file may raise anything.
    argv: The command line.
    configs: Folder of the configs that there are.
  """
  lines = str(error).strip().split("\n")
  reason = lines[-1] if "Traceback" in str(error) else " ".join(lines)
  if not isinstance(error, flags.Error | ValueError):
    reason = f"--config: {type(error).__name__}: {reason}"
  return _unknown_key(argv) or _no_such_config(argv, configs) or reason


def _unknown_key(argv: list[str]) -> str | None:
  """Says which --config.KEY no config has, and which keys are like it."""
  known = get_config().to_dict()
  for argument in argv:
    found = re.match(r"--?(?:no)?config\.([\w.]+)", argument)
    if not found:
      continue
    part, path = known, []
    for name in found[1].split("."):
      if not isinstance(part, dict):
        return f"--config.{found[1]}: {'.'.join(path)} has no keys"
      if name not in part:
        # Else the nearest, however far: they show what kind of keys it has.
        near = difflib.get_close_matches(name, part) or (
          difflib.get_close_matches(name, part, n=5, cutoff=0)
        )
        near = ", ".join(".".join([*path, key]) for key in near)
        return (
          f"--config.{found[1]}: no such key; there is {near}; "
          "rn_jax/default_config.py has them all"
        )
      part = part[name]
      path.append(name)
  return None


def _no_such_config(argv: list[str], configs: Path) -> str | None:
  """Says that the file of --config is not there, and which are like it."""
  given = re.findall(r"^--?config[=\n]([^-:\n][^:\n]*)", "\n".join(argv), re.M)
  if not given:
    return "--config= needs a file, such as configs/quickstart.py"
  path = Path(given[-1])
  if path.exists():
    return None
  names = [str(x.relative_to(configs.parent)) for x in configs.rglob("*.py")]
  near = ", ".join(difflib.get_close_matches(str(path), names) or sorted(names))
  return f"--config={path}: no such file; there is {near}"
