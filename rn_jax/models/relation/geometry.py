"""How boxes lie to each other: four numbers a pair, and their embedding.

Always in float32: the embedding takes sines of angles up to some 700, which
bfloat16 would round by a third of a turn.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

GEOMETRIES = ("log_abs", "signed")
DENOMINATORS = ("query", "key")

_CLOSEST = 1e-3  # floor of a distance in units of a box's size
_SMALLEST = 1e-6  # floor of a box's size, so that no logarithm is infinite
_WAVELENGTH = 1000.0  # of the wave after the last
_SCALE = 100.0  # factor before sine and cosine, as in the authors' code


def relative_geometry(
  queries: Float[Array, "*S N 4"],
  keys: Float[Array, "*S M 4"],
  geometry: str = "log_abs",
  denominator: str = "query",
) -> Float[Array, "*S N M 4"]:
  """Describes where each query's box lies from each key's.

  Shifts change nothing, nor do changes of scale, of each axis by itself.

  Args:
    queries: Left, upper, right and lower edges, in any unit.
    keys: Likewise.
    geometry: "log_abs" (Hu et al. 2018): logarithms of the distances of the
      centres in x and y, at least 1e-3 of a box's size; mirrored scenes look
      alike, so left and right must come from elsewhere. "signed" (ours):
      log(1 + distance) with the sign of query minus key.
    denominator: Whose size distances are measured in: "query" as in the
      authors' code, or "key" as the paper's text is said to have it [M, from
      memory: the text was not at hand].

  Returns:
    float32: distances in x and y, then log(query's size / key's size) of
    width and height.

  Raises:
    ValueError: There is no such geometry or denominator.
  """
  if geometry not in GEOMETRIES:
    raise ValueError(f"geometry is {geometry!r}, not one of {GEOMETRIES}")
  if denominator not in DENOMINATORS:
    raise ValueError(
      f"denominator is {denominator!r}, not one of {DENOMINATORS}"
    )
  query_center, query_size = _center_and_size(queries)
  key_center, key_size = _center_and_size(keys)
  query_center, query_size = (
    query_center[..., None, :],
    query_size[..., None, :],
  )
  key_center, key_size = key_center[..., None, :, :], key_size[..., None, :, :]
  size = query_size if denominator == "query" else key_size
  offset = (query_center - key_center) / size  # [*S, N, M, 2]
  if geometry == "log_abs":
    offset = jnp.log(jnp.maximum(jnp.abs(offset), _CLOSEST))
  else:
    offset = jnp.sign(offset) * jnp.log1p(jnp.abs(offset))
  return jnp.concatenate([offset, jnp.log(query_size / key_size)], -1)


def embed_geometry(
  relative: Float[Array, "*P 4"], width: int = 64
) -> Float[Array, "*P width"]:
  """Embeds pairs' geometry by sines and cosines of several wavelengths.

  Args:
    relative: From relative_geometry.
    width: Numbers of a pair: of each of the four, width / 8 sines, then as
      many cosines.

  Returns:
    float32. Rounding of the angles leaves errors of up to about 1e-3.

  Raises:
    ValueError: The width is no multiple of 8.
  """
  if width <= 0 or width % 8:
    raise ValueError(f"the geometry's width is {width}, no multiple of 8")
  angles = wave_angles(_SCALE * relative.astype(jnp.float32), width // 8)
  waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
  return waves.reshape(*relative.shape[:-1], width)


def wave_angles(
  positions: Float[Array, "*P"], count: int
) -> Float[Array, "*P {count}"]:
  """Divides positions by wavelengths from 1 to 1000 ** (1 - 1 / count)."""
  exponents = jnp.arange(count, dtype=jnp.float32) / count
  return positions[..., None] / _WAVELENGTH**exponents


def _center_and_size(boxes):
  boxes = boxes.astype(jnp.float32)
  lower, upper = boxes[..., :2], boxes[..., 2:]
  return (lower + upper) / 2, jnp.maximum(upper - lower, _SMALLEST)
