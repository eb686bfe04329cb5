"""The relation core: g_theta over all pairs of objects, and their sum.

g_theta is written as a function of one pair and vmapped over pairs, questions
and scenes. Two identities make it cheap without changing a number beyond
rounding or a parameter at all:

* The first layer acts on [o_q ; o_p], so it is two products per object whose
  results are added per pair. Pairs are never concatenated in memory.
* The question enters its layer through its own rows of the kernel. All that
  comes before, and the rest of that layer's product, does not depend on the
  question and is computed once per scene for all its questions.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from rn_jax.models.affine import Affine, Weights, add_rows, dropout
from rn_jax.models.blocks import map_blocks

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
    scenes_per_block: Scenes related at a time, see blocks.py; 0: all at once.
      Small blocks stay in a CPU's cache; accelerators want 0.
    dtype: Type of the products; sums over pairs are in float32.
  """

  units: Sequence[int]
  dropout_rates: Sequence[float]
  question_layer: int | None
  aggregation: str
  scenes_per_block: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(
    self,
    objects: jax.Array,
    object_mask: jax.Array | None,
    question: jax.Array,
    *,
    train: bool = False,
    keys: jax.Array | None = None,
    rows: int | None = None,
  ) -> jax.Array:
    """Relates objects.

    Args:
      objects: [S, N, F].
      object_mask: [S, N] bool; pairs with a False member count nothing.
        None: all pairs count.
      question: [S, K, Q], K questions about each scene.
      train: Whether dropout is on.
      keys: [S] PRNG keys, needed where dropout is on.
      rows: These scenes are one block already, and no scene of it has an
        object beyond its first `rows`. None: divide into blocks.

    Returns:
      [S, K, units[-1]] float32; [S, 1, units[-1]] when question_layer is
      None, which is the AVF-RN's descriptor.
    """
    if self.aggregation not in AGGREGATIONS:
      raise ValueError(
        f"aggregation is {self.aggregation!r}, not one of {AGGREGATIONS}"
      )
    num_objects, features = objects.shape[1:]
    layers = []
    inputs = 2 * features
    for index, units in enumerate(self.units):
      joined = question.shape[-1] if index == self.question_layer else 0
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
    one_by_one = self.scenes_per_block and 2 * num_objects**2 > _PAIRS_IN_CACHE

    def relate_block(scenes, rows):
      weights = self._pair_weights(
        position_weights, scenes.get("mask"), num_objects
      )
      return (), relate(
        layers,
        scenes["objects"][:, :rows].astype(self.dtype),
        scenes["question"].astype(self.dtype),
        None if weights is None else weights[..., :rows, :rows],
        question_layer=self.question_layer,
        dropout_rates=self.dropout_rates,
        train=train,
        keys=scenes.get("key"),
        one_by_one=one_by_one,
      )

    scenes = {"objects": objects, "question": question}
    if object_mask is not None:
      scenes["mask"] = object_mask
    if train and any(self.dropout_rates):
      scenes["key"] = keys
    if rows is not None or self.scenes_per_block == 0:
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


def relate(
  layers: Sequence[Weights],
  objects: jax.Array,
  question: jax.Array,
  pair_weights: jax.Array | None,
  *,
  question_layer: int | None,
  dropout_rates: Sequence[float],
  train: bool = False,
  keys: jax.Array | None = None,
  one_by_one: bool = False,
) -> jax.Array:
  """Sums g_theta over the pairs of each scene for each of its questions.

  Args:
    layers: g_theta's layers.
    objects: [S, N, F].
    question: [S, K, Q].
    pair_weights: [N, N] or [S, N, N], entry [p, q] for the pair [o_q ; o_p];
      None: ones.
    question_layer: See RelationCore.
    dropout_rates: See RelationCore.
    train: Whether dropout is on.
    keys: [S] keys for dropout.
    one_by_one: Answer the first question of each scene, then the second...

  Returns:
    [S, K, D] float32, or [S, 1, D] when question_layer is None.
  """
  n, features = objects.shape[1:]
  pair_keys = None
  if train and any(dropout_rates):
    # By position, so that rows that nobody looks at change nothing.
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    of_scene = jax.vmap(fold, (0, None))(keys, jnp.arange(n))  # [S, N]
    pair_keys = jax.vmap(jax.vmap(fold, (0, None)), (0, None))(
      of_scene, jnp.arange(n)
    )

  # One pair, from before the activation of layer `first` to before that of
  # `last`; behind the last layer there is none. [D] -> [D].
  def g_theta(x, key, first, last):
    for index in range(first, last):
      if key is not None:
        layer_key = jax.random.fold_in(key, index)
        x = dropout(x, layer_key, dropout_rates[index], train)
      x = nn.relu(x)
      if index + 1 < len(layers):
        layer = layers[index + 1]
        x = add_rows(x @ layer.kernel[: x.shape[-1]], layer.bias)
    return x

  # All pairs, as the rows of one matrix: with more axes XLA copies them.
  def over_pairs(x, first, last):
    rows = x.reshape(-1, x.shape[-1])
    if pair_keys is None:
      y = jax.vmap(lambda row: g_theta(row, None, first, last))(rows)
    else:
      row_keys = pair_keys if x.ndim == 4 else pair_keys[:, None]
      row_keys = jnp.broadcast_to(row_keys, x.shape[:-1]).reshape(-1)
      y = jax.vmap(lambda row, key: g_theta(row, key, first, last))(
        rows, row_keys
      )
    return y.reshape(*x.shape[:-1], -1)

  def total(pairs):  # [S, ..., N, N, D] -> [S, ..., D]
    pairs = pairs.astype(jnp.float32)
    if pair_weights is not None:
      weights = pair_weights[..., None]
      if pair_weights.ndim == 3 and pairs.ndim == 5:
        weights = weights[:, None]
      pairs = pairs * weights
    return pairs.sum((-3, -2))

  first = layers[0]
  # Rows that pairs share are kept in float32, see add_rows.
  of_q = (objects @ first.kernel[:features]).astype(jnp.float32)  # [S, N, D]
  of_p = objects @ first.kernel[features : 2 * features]
  of_p = of_p.astype(jnp.float32)
  pairs = of_q[:, None] + of_p[:, :, None] + first.bias  # [S, N, N, D]
  pairs = pairs.astype(objects.dtype)
  if question_layer is None:
    return total(over_pairs(pairs, 0, len(layers)))[:, None]
  pairs = over_pairs(pairs, 0, question_layer)
  joined = layers[question_layer].kernel[-question.shape[-1] :]
  of_question = (question @ joined).astype(jnp.float32)  # [S, K, D]

  def answer(of_questions):  # [S, K, D]
    x = add_rows(pairs[:, None], of_questions[:, :, None, None])
    return total(over_pairs(x, question_layer, len(layers)))

  if one_by_one and question.shape[1] > 1:
    return jax.lax.map(
      lambda one: answer(one[:, None])[:, 0], of_question.swapaxes(0, 1)
    ).swapaxes(0, 1)
  return answer(of_question)
