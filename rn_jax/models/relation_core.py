"""The relation core: parameters of g_theta, and the sum over its pairs."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Key

from rn_jax.models.affine import Affine
from rn_jax.models.blocks import map_blocks
from rn_jax.models.pairs import relate

# Pairs whose features a cache holds, roughly.
_PAIRS_IN_CACHE = 4096

AGGREGATIONS = ("sum", "mean", "weighted")


class RelationCore(nn.Module):
  """Relates all ordered pairs of objects, self pairs included.

  Attributes:
    units: Width of each layer of g_theta.
    dropout_rates: One rate per layer, applied before its ReLU.
    question_layer: The layer at whose input the question joins: 0 is the RN,
      2 the two-stage RN. None: g_theta sees no question (AVF-RN).
    aggregation: "sum" (RN), "mean", or "weighted" (AVF-RN: one learned scalar
      per pair position, for all channels alike).
    scenes_per_block: Scenes related at a time, see blocks.py; None: all at
      once. Small blocks stay in a CPU's cache; accelerators want None.
    dtype: Type of the products; sums over pairs are in float32.
    scale: Factor of the sum.
  """

  units: Sequence[int]
  dropout_rates: Sequence[float]
  question_layer: int | None
  aggregation: str
  scenes_per_block: int | None
  dtype: DTypeLike
  scale: float = 1.0

  @nn.compact
  def __call__(
    self,
    objects: Float[Array, "S N F"],
    object_mask: Bool[Array, "S N"] | None,
    question: Float[Array, "S K Q"] | None,
    *,
    keys: Key[Array, " S"] | None = None,
    rows: int | None = None,
  ) -> Float[Array, "S K_or_1 D"]:
    """Relates objects.

    Args:
      objects: From an encoder.
      object_mask: Pairs with a False member count nothing; None: all count.
      question: K questions about each scene; None will do where question_layer
        is None.
      keys: For dropout; None: no dropout.
      rows: These scenes are one block already, and no scene of it has an
        object beyond its first `rows`. None: divide into blocks.

    Returns:
      float32, for each question; [S, 1, D] when question_layer is None, which
      is the AVF-RN's descriptor.
    """
    if self.aggregation not in AGGREGATIONS:
      raise ValueError(
        f"aggregation is {self.aggregation!r}, not one of {AGGREGATIONS}"
      )
    num_objects, features = objects.shape[1:]
    layers = []
    inputs = 2 * features
    for index, units in enumerate(self.units):
      joined = 0
      if index == self.question_layer:
        assert question is not None
        joined = question.shape[-1]
      layers.append(
        Affine(inputs + joined, units, self.dtype, name=f"g_{index}")()
      )
      inputs = units
    position_weights = None
    if self.aggregation == "weighted":
      position_weights = self.param(
        "position_weights",
        lambda key, shape: jax.random.uniform(key, shape, minval=-1.0),
        (num_objects * num_objects,),
      ).reshape(num_objects, num_objects)

    # In blocks, questions whose pairs fill a cache go one by one.
    many_pairs = 2 * num_objects**2 > _PAIRS_IN_CACHE
    one_by_one = bool(self.scenes_per_block) and many_pairs

    def relate_block(scenes, rows):
      weights = self._pair_weights(
        position_weights, scenes["mask"], num_objects
      )
      relations = relate(
        layers,
        scenes["objects"][:, :rows].astype(self.dtype),
        scenes["question"],
        None if weights is None else weights[..., :rows, :rows],
        question_layer=self.question_layer,
        dropout_rates=self.dropout_rates,
        keys=scenes["keys"],
        one_by_one=one_by_one,
      )
      return (), relations * self.scale

    scenes = {
      "objects": objects,
      "mask": object_mask,
      "question": question,
      "keys": keys if any(self.dropout_rates) else None,
    }
    if rows is not None or not self.scenes_per_block:
      return relate_block(scenes, num_objects if rows is None else rows)[1]
    return map_blocks(
      jax.checkpoint(relate_block, static_argnums=1),
      scenes,
      object_mask,
      num_objects,
      self.scenes_per_block,
    )[1]

  def _pair_weights(self, position_weights, mask, num_objects):
    """Returns the weight of each pair, float32, or None for all ones.

    [N, N] for all scenes, or [S, N, N].
    """
    weights = position_weights
    if mask is not None:
      both = (mask[:, :, None] & mask[:, None]).astype(jnp.float32)
      weights = both if weights is None else weights * both
    if self.aggregation == "mean":
      if mask is None:
        count = float(num_objects**2)
        return jnp.full((num_objects, num_objects), 1.0 / count)
      return weights / jnp.maximum(weights.sum((1, 2), keepdims=True), 1.0)
    return weights
