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
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from rn_jax.models.affine import Affine, Weights, add_rows, dropout
from rn_jax.models.blocks import map_blocks

# Pairs whose features a core's cache holds, roughly; where scenes are related
# in blocks, questions of a scene are too.
_PAIRS_PER_BLOCK = 4096

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

    questions_per_block = 0
    if self.scenes_per_block:
      questions_per_block = max(1, _PAIRS_PER_BLOCK // num_objects**2)

    def relate_scene(scene, rows):
      weights = self._pair_weights(
        position_weights, scene.get("mask"), num_objects
      )
      return relate(
        layers,
        scene["objects"][:rows].astype(self.dtype),
        scene["question"].astype(self.dtype),
        None if weights is None else weights[:rows, :rows],
        question_layer=self.question_layer,
        dropout_rates=self.dropout_rates,
        train=train,
        key=scene.get("key"),
        questions_per_block=questions_per_block,
      )

    def relate_block(scenes, rows):
      return (), jax.vmap(partial(relate_scene, rows=rows))(scenes)

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
    """Returns the weight of each pair, [N, N] float32, or None for all ones."""
    weights = position_weights
    if mask is not None:
      both = (mask[:, None] & mask[None, :]).astype(jnp.float32)
      weights = both if weights is None else weights * both
    if self.aggregation == "mean":
      if mask is None:
        count = float(num_objects**2)
        return jnp.full((num_objects, num_objects), 1.0 / count)
      return weights / jnp.maximum(weights.sum(), 1.0)
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
  key: jax.Array | None = None,
  questions_per_block: int = 0,
) -> jax.Array:
  """Sums g_theta over the pairs of one scene for each of its questions.

  Args:
    layers: g_theta's layers.
    objects: [N, F].
    question: [K, Q].
    pair_weights: [N, N], entry [p, q] for the pair [o_q ; o_p]; None: ones.
    question_layer: See RelationCore.
    dropout_rates: See RelationCore.
    train: Whether dropout is on.
    key: The scene's key for dropout.
    questions_per_block: Questions answered at a time; 0: all at once.

  Returns:
    [K, D] float32, or [1, D] when question_layer is None.
  """
  num_objects, features = objects.shape
  first = layers[0].kernel
  # Rows that pairs share are kept in float32, see add_rows.
  of_q = (objects @ first[:features]).astype(jnp.float32)  # [N, D]
  of_p = (objects @ first[features : 2 * features]).astype(jnp.float32)
  pair_keys = None
  if train and any(dropout_rates):
    # By position, so that rows that nobody looks at change nothing.
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    positions = jnp.arange(num_objects)
    pair_keys = jax.vmap(fold, (0, None))(fold(key, positions), positions)

  def activate(x, index, pair_key):
    if pair_key is not None:
      pair_key = jax.random.fold_in(pair_key, index)
    return nn.relu(dropout(x, pair_key, dropout_rates[index], train))

  # Pre-activation of the layer at which the question joins, or, where none
  # does, the output of the last layer. One pair: [D], [D] -> [D].
  stop = len(layers) - 1 if question_layer is None else question_layer

  def before_question(left, right, pair_key):
    x = (left + right + layers[0].bias).astype(objects.dtype)
    for index in range(1, stop + 1):
      x = activate(x, index - 1, pair_key)
      layer = layers[index]
      x = add_rows(x @ layer.kernel[: x.shape[-1]], layer.bias)
    return activate(x, stop, pair_key) if question_layer is None else x

  def from_question(x, of_question, pair_key):
    x = activate(add_rows(x, of_question), stop, pair_key)
    for index in range(stop + 1, len(layers)):
      x = add_rows(x @ layers[index].kernel, layers[index].bias)
      x = activate(x, index, pair_key)
    return x

  def total(pairs):
    pairs = pairs.astype(jnp.float32)
    if pair_weights is not None:
      pairs = pairs * pair_weights[..., None]
    return pairs.sum((0, 1))

  keys_axis = None if pair_keys is None else 0
  over_q = jax.vmap(before_question, (0, None, keys_axis))
  over_pq = jax.vmap(over_q, (None, 0, keys_axis))
  pairs = over_pq(of_q, of_p, pair_keys)  # [N, N, D]
  if question_layer is None:
    return total(pairs)[None]
  joined = layers[stop].kernel[-question.shape[-1] :]
  of_question = (question @ joined).astype(jnp.float32)  # [K, D]
  over_q = jax.vmap(from_question, (0, None, keys_axis))
  over_pq = jax.vmap(over_q, (0, None, keys_axis))

  def answer(of_one_question):
    return total(over_pq(pairs, of_one_question, pair_keys))

  if 0 < questions_per_block < len(question):
    return jax.lax.map(answer, of_question, batch_size=questions_per_block)
  return jax.vmap(answer)(of_question)
