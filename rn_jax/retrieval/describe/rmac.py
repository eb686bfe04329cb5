"""R-MAC: regional maxima of a feature map, summed (Tolias et al. 2016).

The pooling alone: any network may give the map. Descriptors named
"R-MAC (RN CNN)" are made of the Relation Network's own small map; the R-MAC of
the literature has a large pretrained network before it, and its vectors can be
imported (rn_jax/retrieval/importers.py).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_LEVELS = 3
_OVERLAP = 0.4  # of neighbouring regions along the longer side
_MOST_REGIONS = 7


def regions(height: int, width: int) -> list[tuple[int, int, int]]:
  """Returns the square regions of a map: (top, left, side) of each.

  Level l of 3 has l regions along the shorter side; a square map has
  1 + 4 + 9. Along the longer side there are more, so that neighbours overlap by
  about 40 %.
  """
  short, long = min(height, width), max(height, width)
  extra = 0
  if long > short:
    extra = min(
      range(1, _MOST_REGIONS),
      key=lambda gaps: abs(1 - (long - short) / gaps / short - _OVERLAP),
    )
  found = []
  for level in range(1, _LEVELS + 1):
    side = 2 * short // (level + 1)
    if not side:
      continue
    tops = _spread(height - side, level + extra * (height > width))
    lefts = _spread(width - side, level + extra * (width > height))
    found += [(top, left, side) for top in tops for left in lefts]
  return found


def _spread(room: int, count: int) -> list[int]:
  """Returns `count` whole numbers evenly from 0 to `room`."""
  return [i * room // max(count - 1, 1) for i in range(count)]


def rmac(
  feature_map: Float[Array | np.ndarray, "H W C"],
  transform: Callable[[Float[Array, " C"]], Float[Array, " E"]] | None = None,
) -> Float[Array, " E"]:
  """Pools a feature map.

  Args:
    feature_map: After a ReLU.
    transform: Applied to the unit vector of each region, as PCA-whitening is;
      what it returns is scaled to unit length again. The whole map counts as a
      region here, too.

  Returns:
    float32 of unit length, with as many numbers as the map has channels, or as
    what `transform` returns has; zeros if the map is all zeros.
  """
  feature_map = jnp.asarray(feature_map, jnp.float32)
  height, width = feature_map.shape[:2]
  maxima = [feature_map.max((0, 1))]
  for top, left, side in regions(height, width):
    region = feature_map[top : top + side, left : left + side]
    maxima.append(region.max((0, 1)))
  vectors = unit(jnp.stack(maxima))  # [R, C]
  if transform is not None:
    vectors = unit(jax.vmap(transform)(vectors))
  return unit(vectors.sum(0))


def unit(x: Float[Array, "*S D"]) -> Float[Array, "*S D"]:
  """Scales vectors to unit length; zeros stay zeros."""
  norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
  return x / jnp.maximum(norm, 1e-12)
