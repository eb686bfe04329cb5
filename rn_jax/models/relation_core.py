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
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Key

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
    scenes_per_block: Scenes related at a time, see blocks.py; None: all at
      once. Small blocks stay in a CPU's cache; accelerators want None.
    dtype: Type of the products; sums over pairs are in float32.
  """

  units: Sequence[int]
  dropout_rates: Sequence[float]
  question_layer: int | None
  aggregation: str
  scenes_per_block: int | None
  dtype: DTypeLike

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
    many_pairs = 2 * num_objects**2 > _PAIRS_IN_CACHE
    one_by_one = bool(self.scenes_per_block) and many_pairs

    def relate_block(scenes, rows):
      weights = self._pair_weights(
        position_weights, scenes["mask"], num_objects
      )
      return (), relate(
        layers,
        scenes["objects"][:, :rows].astype(self.dtype),
        scenes["question"],
        None if weights is None else weights[..., :rows, :rows],
        question_layer=self.question_layer,
        dropout_rates=self.dropout_rates,
        keys=scenes["keys"],
        one_by_one=one_by_one,
      )

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


def relate(
  layers: Sequence[Weights],
  objects: Float[Array, "S N F"],
  question: Float[Array, "S K Q"] | None,
  pair_weights: Float[Array, "N N"] | Float[Array, "S N N"] | None,
  *,
  question_layer: int | None,
  dropout_rates: Sequence[float],
  keys: Key[Array, " S"] | None = None,
  one_by_one: bool = False,
) -> Float[Array, "S K_or_1 D"]:
  """Sums g_theta over the pairs of each scene for each of its questions.

  Args:
    layers: g_theta's layers.
    objects: From an encoder.
    question: None will do where question_layer is None.
    pair_weights: Entry [p, q] for the pair [o_q ; o_p], of all scenes or of
      each; None: ones.
    question_layer: See RelationCore.
    dropout_rates: See RelationCore.
    keys: For dropout; None: no dropout.
    one_by_one: Answer the first question of each scene, then the second...

  Returns:
    float32, for each question; [S, 1, D] when question_layer is None.
  """
  pair_keys = None if keys is None else _pair_keys(keys, objects.shape[1])

  # All pairs, as the rows of one matrix: with more axes XLA copies them.
  def over_pairs(x, first, last):
    rows, row_keys = x.reshape(-1, x.shape[-1]), None
    if pair_keys is not None:
      row_keys = pair_keys if x.ndim == 4 else pair_keys[:, None]
      row_keys = jnp.broadcast_to(row_keys, x.shape[:-1]).reshape(-1)
    y = jax.vmap(
      lambda row, key: g_theta(layers, row, first, last, dropout_rates, key)
    )(rows, row_keys)
    return y.reshape(*x.shape[:-1], -1)

  def total(pairs):  # [S, ..., N, N, D] -> [S, ..., D]
    pairs = pairs.astype(jnp.float32)
    if pair_weights is not None:
      weights = pair_weights[..., None]
      if pair_weights.ndim == 3 and pairs.ndim == 5:
        weights = weights[:, None]
      pairs = pairs * weights
    return pairs.sum((-3, -2))

  pairs = first_layer(layers[0], objects)
  if question_layer is None:
    return total(over_pairs(pairs, 0, len(layers)))[:, None]
  pairs = over_pairs(pairs, 0, question_layer)
  joined = layers[question_layer].kernel[-question.shape[-1] :]
  of_question = question.astype(objects.dtype) @ joined  # [S, K, D]
  of_question = of_question.astype(jnp.float32)

  def answer(of_questions):  # [S, K, D]
    x = add_rows(pairs[:, None], of_questions[:, :, None, None])
    return total(over_pairs(x, question_layer, len(layers)))

  if one_by_one and question.shape[1] > 1:
    return jax.lax.map(
      lambda one: answer(one[:, None])[:, 0], of_question.swapaxes(0, 1)
    ).swapaxes(0, 1)
  return answer(of_question)


def first_layer(
  layer: Weights, objects: Float[Array, "*S N F"]
) -> Float[Array, "*S N N D"]:
  """Applies g_theta's first layer to all pairs, without the question.

  Args:
    layer: Its weights; rows of the kernel for a question are not used.
    objects: Of any number of scenes.

  Returns:
    What comes before the activation; entry [p, q] belongs to [o_q ; o_p].
  """
  features = objects.shape[-1]
  # Rows that pairs share are kept in float32, see add_rows.
  of_q = (objects @ layer.kernel[:features]).astype(jnp.float32)
  of_p = objects @ layer.kernel[features : 2 * features]
  of_p = of_p.astype(jnp.float32)
  pairs = of_q[..., None, :, :] + of_p[..., :, None, :] + layer.bias
  return pairs.astype(objects.dtype)


def g_theta(
  layers: Sequence[Weights],
  x: Float[Array, "*P D"],
  first: int,
  last: int,
  dropout_rates: Sequence[float] = (),
  key: Key[Array, ""] | None = None,
) -> Float[Array, "*P E"]:
  """Takes a pair through some layers, without the question.

  Args:
    layers: All of g_theta's.
    x: The result of layer `first` before its activation.
    first: See above.
    last: The layer before whose activation to stop; behind the last layer
      there is none.
    dropout_rates: See RelationCore.
    key: For dropout; None: no dropout.
  """
  for index in range(first, last):
    if key is not None:
      layer_key = jax.random.fold_in(key, index)
      x = dropout(x, layer_key, dropout_rates[index])
    x = nn.relu(x)
    if index + 1 < len(layers):
      layer = layers[index + 1]
      x = add_rows(x @ layer.kernel[: x.shape[-1]], layer.bias)
  return x


def _pair_keys(keys: Key[Array, " S"], num_objects: int) -> Key[Array, "S N N"]:
  """Returns a key for each pair, from one for each scene.

  By position, so that rows that nobody looks at change nothing.
  """
  fold = jax.vmap(jax.random.fold_in, (None, 0))
  positions = jnp.arange(num_objects)
  of_scene = jax.vmap(fold, (0, None))(keys, positions)  # [S, N]
  return jax.vmap(jax.vmap(fold, (0, None)), (0, None))(of_scene, positions)
