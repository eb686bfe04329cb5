"""The last part of a Relation Network: from relations to answers."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from rn_jax.models.affine import Affine, add_rows, dropout


class AnswerNetwork(nn.Module):
  """f_phi: from the sum over pairs to answer logits.

  Attributes:
    units: Width of each hidden layer.
    dropout_rates: One rate per hidden layer, applied before its ReLU.
    question_layer: The hidden layer at whose input the question joins
      (AVF-RN), or None.
    num_answers: Size of the output.
    dtype: Type of the products; logits are float32.
  """

  units: Sequence[int]
  dropout_rates: Sequence[float]
  question_layer: int | None
  num_answers: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    relations: Float[Array, "S K_or_1 D"],
    question: Float[Array, "S K Q"],
    keys: Key[Array, "S K"] | None = None,
  ) -> Float[Array, "S K A"]:
    """Returns the logits; relations may be the same for all K questions."""
    x = relations.astype(self.dtype)
    for index, units in enumerate(self.units):
      if index == self.question_layer:
        x = jnp.broadcast_to(x, (*question.shape[:2], x.shape[-1]))
        x = jnp.concatenate([x, question.astype(self.dtype)], -1)
      layer = Affine(x.shape[-1], units, self.dtype, name=f"f_{index}")()
      x = add_rows(x @ layer.kernel, layer.bias)
      rate = self.dropout_rates[index]
      if keys is not None and rate > 0.0:
        x = jnp.broadcast_to(x, (*question.shape[:2], units))
        x = jax.vmap(
          jax.vmap(
            lambda row, key, i=index, rate=rate: dropout(
              row, jax.random.fold_in(key, i), rate
            )
          )
        )(x, keys)
      x = nn.relu(x)
    layer = Affine(x.shape[-1], self.num_answers, jnp.float32, name="logits")()
    return x.astype(jnp.float32) @ layer.kernel + layer.bias
