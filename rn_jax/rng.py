"""Random streams: one root seed, one stream per purpose, one key per step."""

import zlib

import jax


def stream(seed: int, name: str) -> jax.Array:
  """Returns the root key of a named stream.

  Streams follow from the seed alone, so a resumed run needs no saved key.
  """
  return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
