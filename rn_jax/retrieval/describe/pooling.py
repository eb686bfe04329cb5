"""From the objects of one scene to vectors that describe it.

Pairs are those of the relation core: [o_q ; o_p] for all p and q, self pairs
included, so pair p * N + q of the flat list holds objects q and p.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from rn_jax.retrieval.describe.descriptors import Descriptor
from rn_jax.retrieval.describe.rmac import rmac

# Below it a pair counts as zero and stays so (torch.nn.functional.normalize).
_SMALLEST_NORM = 1e-12


def pair_layers(
  params: Mapping, objects: jax.Array, layers: Sequence[int]
) -> dict[int, jax.Array]:
  """Computes the inputs of g_theta's layers, without the question.

  Args:
    params: Parameters of the relation core: "g_0", "g_1", ...
    objects: [N, F].
    layers: Which, none behind the layer at which the question joins.

  Returns:
    [N, N, D] float32 by layer; entry [p, q] belongs to the pair [o_q ; o_p].
  """
  objects = objects.astype(jnp.float32)
  num_objects, features = objects.shape
  found = {}
  if 0 in layers:
    shape = (num_objects, num_objects, features)
    of_q = jnp.broadcast_to(objects[None, :], shape)
    of_p = jnp.broadcast_to(objects[:, None], shape)
    found[0] = jnp.concatenate([of_q, of_p], -1)
  for layer in range(1, max(layers) + 1):
    kernel = params[f"g_{layer - 1}"]["kernel"]
    bias = params[f"g_{layer - 1}"]["bias"]
    if layer == 1:
      # [o_q ; o_p] times a kernel is a sum of two products per object.
      of_q = objects @ kernel[:features]
      of_p = objects @ kernel[features : 2 * features]
      x = of_q[None, :] + of_p[:, None]  # [N, N, D]
    else:
      x = x @ kernel
    x = jax.nn.relu(x + bias)
    if layer in layers:
      found[layer] = x
  return found


def pool_pairs(
  pairs: jax.Array, mask: jax.Array | None, pooling: str, unit_pairs: bool
) -> jax.Array:
  """Pools pairs.

  Args:
    pairs: [N, N, D].
    mask: [N] bool, which objects there are; None: all.
    pooling: "avg", "max" or "sum".
    unit_pairs: Scale each pair to unit length first.

  Returns:
    [D].
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
  params: Mapping,
  objects: jax.Array,
  mask: jax.Array | None,
  relations: jax.Array | None,
) -> dict[str, jax.Array]:
  """Computes the descriptors of one scene.

  Args:
    descriptors: Which.
    params: Parameters of the relation core.
    objects: [N, F]; from pixels the cells in row-major order, the last two
      features being coordinates.
    mask: [N] bool, or None where all rows count.
    relations: [D], the network's own sum over pairs, for "aggregate", or
      None.

  Returns:
    [D] float32 by name.
  """
  layers = {d.layer for d in descriptors if isinstance(d.layer, int)}
  pairs = pair_layers(params, objects, sorted(layers)) if layers else {}
  found = {}
  for d in descriptors:
    if d.layer == "aggregate":
      x = relations
    elif d.layer == "conv":
      x = _pool_cells(objects[:, :-2].astype(jnp.float32), d.pooling)
    else:
      x = pool_pairs(pairs[d.layer], mask, d.pooling, d.unit_pairs)
    found[d.name] = x.astype(jnp.float32)
  return found


def _pool_cells(cells: jax.Array, pooling: str) -> jax.Array:
  """Pools [N, C] to [C]."""
  if pooling == "avg":
    return cells.mean(0)
  if pooling == "max":
    return cells.max(0)
  side = round(len(cells) ** 0.5)  # networks read square images
  return rmac(cells.reshape(side, side, -1))
