"""What objects can be, by the scenes of a file."""

import json
from collections.abc import Iterable
from pathlib import Path

from data_prep.conversion.clevr_json import SourceError
from data_prep.world import CLEVR, World, parse_world


def one_world(properties: Iterable[str], path: Path) -> World:
  """Returns the world that all scenes of a file are of.

  Args:
    properties: Of its scenes, as JSON; "null" where a scene has none.
    path: The file.

  Raises:
    SourceError: They are malformed, or are not the same in all scenes.
  """
  first, *others = sorted(set(properties)) or ["null"]
  if others:
    raise SourceError(
      f'{path}: scenes differ in their "properties"; put them into files, and '
      "folders, of their own"
    )
  content = json.loads(first)
  if content is None:
    return CLEVR
  try:
    return parse_world(content)
  except ValueError as error:
    raise SourceError(f"{path}: {error}") from error
