"""From the objects of one scene to vectors that describe it.

Pairs are those of the relation core: [o_q ; o_p] for all p and q, self pairs
included, so pair p * N + q of the flat list holds objects q and p.
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rn_jax.retrieval.describe.descriptors import Descriptor
from rn_jax.retrieval.describe.rmac import rmac

# Below it a pair counts as zero and stays so (torch.nn.functional.normalize).
_SMALLEST_NORM = 1e-12


def pool_vectors(
  vectors: Float[Array, "N D"] | Float[Array, "N N D"],
  mask: Bool[Array, " N"] | None,
  pooling: str,
  unit: bool,
) -> Float[Array, " D"]:
  """Pools the vectors of a scene's objects, or of its pairs of objects.

  Where there are none, as in a picture in which no object was found: zeros.

  Args:
    vectors: Of each object or pair.
    mask: Which objects there are; None: all.
    pooling: "avg", "max" or "sum".
    unit: Scale each vector to unit length first.
  """
  counts = jnp.ones(vectors.shape[:-1])
  if mask is not None:
    there = mask if vectors.ndim == 2 else mask[:, None] & mask[None, :]
    counts = there.astype(jnp.float32)
  vectors, counts = vectors.reshape(-1, vectors.shape[-1]), counts.reshape(-1)
  scale = jnp.ones_like(counts)
  if unit:
    norm = jnp.linalg.norm(vectors, axis=-1)
    scale = 1.0 / jnp.maximum(norm, _SMALLEST_NORM)
  if pooling != "max":
    total = (counts * scale) @ vectors
    return total if pooling == "sum" else total / jnp.maximum(counts.sum(), 1)
  scaled = jnp.where(counts[:, None] > 0, vectors * scale[:, None], -jnp.inf)
  return jnp.where(counts.any(), scaled.max(0), 0)


def describe_scene(
  descriptors: Sequence[Descriptor],
  described: Mapping[str, Float[Array, "..."]],
  objects: Float[Array, "N F"],
  mask: Bool[Array, " N"] | None,
) -> dict[str, Float[Array, " _"]]:
  """Computes the descriptors of one scene.

  Args:
    descriptors: Which.
    described: What the head knows of it; see the head's `describe`.
    objects: From pixels the cells in row-major order, the last two features
      being coordinates.
    mask: Which objects there are; None: all.

  Returns:
    float32 by name.
  """
  found = {}
  for d in descriptors:
    if d.layer == "conv":
      x = _pool_cells(objects[:, :-2].astype(jnp.float32), d.pooling)
    elif d.pooling == "network":
      x = described[d.layer]
    else:
      x = pool_vectors(described[d.layer], mask, d.pooling, d.unit_pairs)
    found[d.name] = x.astype(jnp.float32)
  return found


def _pool_cells(cells: Float[Array, "N C"], pooling: str) -> Float[Array, " C"]:
  if pooling == "avg":
    return cells.mean(0)
  if pooling == "max":
    return cells.max(0)
  side = round(len(cells) ** 0.5)  # networks read square images
  return rmac(cells.reshape(side, side, -1))
