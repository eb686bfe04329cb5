"""What objects can be, by the scenes of a file."""

import json
from collections.abc import Iterable
from pathlib import Path

from data_prep.conversion.growing_vocabulary import Vocabulary
from data_prep.world import CLEVR, World, parse_world
from rn_jax.data.clevr_json import SourceError


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


def learn_world(
  properties: Iterable[str], path: Path, vocabulary: Vocabulary
) -> World:
  """Tells a vocabulary what objects can be; returns their world.

  Args:
    properties: As for `one_world`.
    path: The file.
    vocabulary: Takes up new values, or must have them if it is frozen.

  Raises:
    SourceError: As for `one_world`; or a frozen vocabulary lacks a value.
  """
  world = one_world(properties, path)
  try:
    vocabulary.learn(world.new_values)
  except KeyError as error:
    raise SourceError(
      f"{path}: the vocabulary does not have the value {error}; convert a train"
      " split with the same properties first, in the same command or folder, or"
      " give its vocabulary (--vocabulary=FILE)"
    ) from None
  return world
