"""Random choices that every computer and version of Python makes alike."""

import random


def random_stream(*key: str | int) -> random.Random:
  """A random generator that depends on `key` alone.

  Callers draw with `.random()` only, the one method whose sequence Python
  promises to keep between versions.
  """
  return random.Random("/".join(map(str, key)))


def pick(rng: random.Random, options: tuple | list):
  """A uniformly drawn element."""
  return options[int(rng.random() * len(options))]
