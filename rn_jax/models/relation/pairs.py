"""g_theta over all pairs of objects, as plain functions.

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
from jaxtyping import Array, Float, Key

from rn_jax.models.affine import Weights, add_rows, dropout


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
  summed: bool = True,
) -> Float[Array, "S K_or_1 D"] | Float[Array, "S K_or_1 N N D"]:
  """Sums g_theta over the pairs of each scene for each of its questions.

  Args:
    layers: g_theta's layers.
    objects: From an encoder.
    question: None will do where question_layer is None.
    pair_weights: Entry [p, q] for the pair [o_q ; o_p], of all scenes or of
      each; None: ones.
    question_layer: See Pairwise.
    dropout_rates: See Pairwise.
    keys: For dropout; None: no dropout.
    one_by_one: Answer the first question of each scene, then the second...
    summed: Not so, each pair's part of the sum is given: for looking at it.

  Returns:
    float32, for each question; [S, 1, ...] when question_layer is None.
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
    return pairs.sum((-3, -2)) if summed else pairs

  pairs = first_layer(layers[0], objects)
  if question_layer is None:
    return total(over_pairs(pairs, 0, len(layers)))[:, None]
  assert question is not None
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


def pair_inputs(
  layers: Sequence[Weights], objects: Float[Array, "*S N F"]
) -> list[Float[Array, "*S N N _"]]:
  """Returns the inputs of g_theta's first layers, without the question.

  Args:
    layers: Those that come before the question joins.
    objects: Of any number of scenes.

  Returns:
    Of each layer, and of the one behind the last; entry [p, q] belongs to the
    pair [o_q ; o_p].
  """
  pairs = (*objects.shape[:-1], *objects.shape[-2:])
  of_q = jnp.broadcast_to(objects[..., None, :, :], pairs)
  of_p = jnp.broadcast_to(objects[..., :, None, :], pairs)
  found = [jnp.concatenate([of_q, of_p], -1)]
  if layers:
    x = first_layer(layers[0], objects)
    for layer in range(1, len(layers) + 1):
      found.append(nn.relu(x))
      x = g_theta(layers, x, layer - 1, layer)
  return found


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
    dropout_rates: See Pairwise.
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
