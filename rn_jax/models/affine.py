"""The parameters of a dense layer, to be applied by plain functions."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key


class Weights(NamedTuple):
  """The kernel in the compute type, the bias in float32."""

  kernel: Float[Array, "inputs units"]
  bias: Float[Array, " units"]


class Affine(nn.Module):
  """Declares one dense layer's kernel and bias and returns them.

  The relation core slices the kernel of the layer at which the question
  joins, so it needs the whole kernel in hand. One kernel, not one per input
  part, keeps the initial scale right (fan-in counts all the inputs) and the
  parameters identical to those of the concatenated form.
  """

  inputs: int
  units: int
  dtype: DTypeLike

  @nn.compact
  def __call__(self) -> Weights:
    kernel = self.param(
      "kernel", nn.initializers.lecun_normal(), (self.inputs, self.units)
    )
    bias = self.param("bias", nn.initializers.zeros, (self.units,))
    return Weights(kernel.astype(self.dtype), bias)


def add_rows(
  x: Float[Array, "..."], *rows: Float[Array, "..."]
) -> Float[Array, "..."]:
  """Returns x plus rows that many entries share, in x's type.

  The sum is taken in float32, and with it the rows' gradients, which are sums
  over thousands of pairs: bfloat16 would lose most of them.
  """
  total = x.astype(jnp.float32)
  for row in rows:
    total += row
  return total.astype(x.dtype)


def dropout(
  x: Float[Array, "*D"], key: Key[Array, ""], rate: float
) -> Float[Array, "*D"]:
  """Drops entries of one example, with one key for that example.

  A key per example, not per batch, makes the masks independent of how the
  batch is spread over devices.
  """
  if rate == 0.0:
    return x
  keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
  return jnp.where(keep, x / (1.0 - rate), 0.0).astype(x.dtype)
