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


def pool_pairs(
  pairs: Float[Array, "N N D"],
  mask: Bool[Array, " N"] | None,
  pooling: str,
  unit_pairs: bool,
) -> Float[Array, " D"]:
  """Pools pairs.

  Args:
    pairs: Their features.
    mask: Which objects there are; None: all.
    pooling: "avg", "max" or "sum".
    unit_pairs: Scale each pair to unit length first.
  """
  counts = jnp.ones(pairs.shape[:2])
  if mask is not None:
    counts = (mask[:, None] & mask[None, :]).astype(jnp.float32)
  scale = jnp.ones_like(counts)
  if unit_pairs:
    norm = jnp.linalg.norm(pairs, axis=-1)
    scale = 1.0 / jnp.maximum(norm, _SMALLEST_NORM)
  if pooling != "max":
    total = jnp.einsum("pq,pqd->d", counts * scale, pairs)
    return total if pooling == "sum" else total / counts.sum()
  scaled = pairs * scale[..., None]
  return jnp.where(counts[..., None] > 0, scaled, -jnp.inf).max((0, 1))


def describe_scene(
  descriptors: Sequence[Descriptor],
  described: Mapping[str, Float[Array, "..."]],
  objects: Float[Array, "N F"],
  mask: Bool[Array, " N"] | None,
) -> dict[str, Float[Array, " _"]]:
  """Computes the descriptors of one scene.

  Args:
    descriptors: Which.
    described: What the head knows of it; see Pairwise.describe.
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
      x = pool_pairs(described[d.layer], mask, d.pooling, d.unit_pairs)
    found[d.name] = x.astype(jnp.float32)
  return found


def _pool_cells(cells: Float[Array, "N C"], pooling: str) -> Float[Array, " C"]:
  if pooling == "avg":
    return cells.mean(0)
  if pooling == "max":
    return cells.max(0)
  side = round(len(cells) ** 0.5)  # networks read square images
  return rmac(cells.reshape(side, side, -1))
