"""Questions to vectors: word embedding and LSTM."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rn_jax.models.affine import add_rows


class LSTM(nn.Module):
  """An LSTM whose parameters are PyTorch's: gates i, f, g, o and two biases.

  The second bias is redundant, but published weights have it, and with it
  they convert both ways without losing a bit.
  """

  units: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, inputs: jax.Array, lengths: jax.Array) -> jax.Array:
    """Reads sequences and returns the last hidden states.

    Args:
      inputs: [B, T, E].
      lengths: [B]; steps from there on leave the state as it is.

    Returns:
      [B, units].
    """
    width = 4 * self.units
    kernel_init = nn.initializers.lecun_normal()
    recurrent_init = nn.initializers.orthogonal()
    kernel_ih = self.param("kernel_ih", kernel_init, (inputs.shape[-1], width))
    kernel_hh = self.param("kernel_hh", recurrent_init, (self.units, width))
    # A forget gate that starts open carries words over the sequence.
    bias_ih = self.param(
      "bias_ih",
      lambda _, shape: jnp.zeros(shape).at[self.units : 2 * self.units].set(1),
      (width,),
    )
    bias_hh = self.param("bias_hh", nn.initializers.zeros, (width,))

    # Everything that does not depend on the state is one matmul up front.
    gates = inputs @ kernel_ih.astype(self.dtype)  # [B, T, 4 * units]
    gates = add_rows(gates, bias_ih, bias_hh)
    kernel_hh = kernel_hh.astype(self.dtype)

    def step(carry, xs):
      hidden, cell = carry
      gate, time = xs
      i, f, g, o = jnp.split(gate + hidden @ kernel_hh, 4, -1)
      new_cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
      new_hidden = nn.sigmoid(o) * jnp.tanh(new_cell)
      live = (time < lengths)[:, None]
      hidden = jnp.where(live, new_hidden, hidden)
      cell = jnp.where(live, new_cell, cell)
      return (hidden, cell), None

    zeros = jnp.zeros((inputs.shape[0], self.units), self.dtype)
    times = jnp.arange(inputs.shape[1])
    (hidden, _), _ = jax.lax.scan(
      step, (zeros, zeros), (gates.swapaxes(0, 1), times)
    )
    return hidden


class QuestionEncoder(nn.Module):
  """Embedding of 32 and LSTM of 128 or 256 (Santoro et al. 2017)."""

  num_words: int
  embedding_size: int
  lstm_units: int
  bidirectional: bool
  reverse: bool
  exact_lengths: bool
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, question: jax.Array, length: jax.Array) -> jax.Array:
    """Encodes questions.

    Args:
      question: [B, T] word indices from 1, padded with 0 on the right.
      length: [B] number of words.

    Returns:
      [B, lstm_units], or twice that (forward then backward state) when
      bidirectional. With exact_lengths, padding changes nothing. Without,
      the whole padded row is read as the reference does: reversed, the
      padding comes first, and its embedding is a trained vector like others.
    """
    num_steps = question.shape[1]
    if not self.exact_lengths:
      length = jnp.full_like(length, num_steps)
    backward = reverse_sequences(question, length)
    # Row 0 is padding's.
    embed = nn.Embed(
      self.num_words + 1,
      self.embedding_size,
      embedding_init=nn.initializers.normal(1.0),
      dtype=self.dtype,
      name="embedding",
    )
    orders = [backward, question] if self.reverse else [question, backward]
    states = [
      LSTM(self.lstm_units, self.dtype, name=name)(embed(order), length)
      for name, order in zip(("lstm", "lstm_backward"), orders, strict=True)
      if self.bidirectional or name == "lstm"
    ]
    return jnp.concatenate(states, -1)


def reverse_sequences(question: jax.Array, length: jax.Array) -> jax.Array:
  """Reverses the first length[b] entries of every row of [B, T]."""
  steps = jnp.arange(question.shape[1])[None]
  index = jnp.where(steps < length[:, None], length[:, None] - 1 - steps, steps)
  return jnp.take_along_axis(question, index, axis=1)
