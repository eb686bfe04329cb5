"""From the objects of one scene to vectors that describe it.

Pairs are those of the relation core: [o_q ; o_p] for all p and q, self pairs
included, so pair p * N + q of the flat list holds objects q and p.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rn_jax.models.affine import Weights
from rn_jax.models.pairs import first_layer, g_theta
from rn_jax.retrieval.describe.descriptors import Descriptor
from rn_jax.retrieval.describe.rmac import rmac

# Below it a pair counts as zero and stays so (torch.nn.functional.normalize).
_SMALLEST_NORM = 1e-12


def pair_layers(
  params: Mapping, objects: Float[Array, "N F"], layers: Sequence[int]
) -> dict[int, Float[Array, "N N _"]]:
  """Computes the inputs of g_theta's layers, without the question.

  Args:
    params: Parameters of the relation core: "g_0", "g_1", ...
    objects: Of one scene.
    layers: Which, none behind the layer at which the question joins.

  Returns:
    float32 by layer; entry [p, q] belongs to the pair [o_q ; o_p].
  """
  objects = objects.astype(jnp.float32)
  found = {}
  if 0 in layers:
    shape = (len(objects), *objects.shape)
    of_q = jnp.broadcast_to(objects[None, :], shape)
    of_p = jnp.broadcast_to(objects[:, None], shape)
    found[0] = jnp.concatenate([of_q, of_p], -1)
  weights = [Weights(**params[f"g_{index}"]) for index in range(max(layers))]
  if weights:
    x = first_layer(weights[0], objects)
  for layer in range(1, len(weights) + 1):
    found[layer] = jax.nn.relu(x)
    x = g_theta(weights, x, layer - 1, layer)
  return {layer: found[layer] for layer in layers}


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
  params: Mapping,
  objects: Float[Array, "N F"],
  mask: Bool[Array, " N"] | None,
  relations: Float[Array, " D"] | None,
) -> dict[str, Float[Array, " _"]]:
  """Computes the descriptors of one scene.

  Args:
    descriptors: Which.
    params: Parameters of the relation core.
    objects: From pixels the cells in row-major order, the last two features
      being coordinates.
    mask: Which objects there are; None: all.
    relations: The network's own sum over pairs, for "aggregate".

  Returns:
    float32 by name.
  """
  layers = {d.layer for d in descriptors if isinstance(d.layer, int)}
  pairs = pair_layers(params, objects, sorted(layers)) if layers else {}
  found = {}
  for d in descriptors:
    if isinstance(d.layer, int):
      x = pool_pairs(pairs[d.layer], mask, d.pooling, d.unit_pairs)
    elif d.layer == "conv":
      x = _pool_cells(objects[:, :-2].astype(jnp.float32), d.pooling)
    else:
      assert relations is not None  # parse_descriptor saw to it
      x = relations
    found[d.name] = x.astype(jnp.float32)
  return found


def _pool_cells(cells: Float[Array, "N C"], pooling: str) -> Float[Array, " C"]:
  if pooling == "avg":
    return cells.mean(0)
  if pooling == "max":
    return cells.max(0)
  side = round(len(cells) ** 0.5)  # networks read square images
  return rmac(cells.reshape(side, side, -1))
