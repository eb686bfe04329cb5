"""What was published of an experiment, told by its config."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@functools.cache
def _published() -> dict:
  path = Path(__file__).with_name("published.json")
  return json.loads(path.read_text(encoding="utf-8"))


def source() -> str:
  """Returns where the figures are from."""
  return _published()["source"]


def published(config: Mapping[str, Any]) -> dict | None:
  """Returns what is known of a config's experiment.

  Args:
    config: By dotted key.

  Returns:
    `name`, `figure` (per cent right, as it was published) and `where`, of the
    entry of published.json that asks for most of what the config has; None if
    there is none, or nothing was published of it.
  """
  fitting = [
    entry
    for entry in _published()["experiments"]
    if entry["config"].items() <= config.items()
  ]
  best = max(fitting, key=lambda entry: len(entry["config"]), default=None)
  return best if best and best["figure"] is not None else None
