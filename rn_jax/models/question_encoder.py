"""Questions to vectors: word embedding and LSTM."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from rn_jax.models.affine import add_rows
from rn_jax.models.recurrence import run_lstm


class LSTM(nn.Module):
  """An LSTM whose parameters are PyTorch's: gates i, f, g, o and two biases.

  The second bias is redundant, but published weights have it, and with it
  they convert both ways without losing a bit.
  """

  units: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    embedding: Float[Array, "words E"],
    question: Int[Array, "B T"],
    lengths: Int[Array, " B"],
  ) -> Float[Array, "B units"]:
    """Reads sequences of words and returns the last hidden states.

    Args:
      embedding: A row for each word.
      question: Rows of the embedding.
      lengths: Steps from there on leave the state as it is.
    """
    width = 4 * self.units
    kernel_init = nn.initializers.lecun_normal()
    recurrent_init = nn.initializers.orthogonal()
    kernel_ih = self.param(
      "kernel_ih", kernel_init, (embedding.shape[-1], width)
    )
    kernel_hh = self.param("kernel_hh", recurrent_init, (self.units, width))
    # A forget gate that starts open carries words over the sequence.
    bias_ih = self.param(
      "bias_ih",
      lambda _, shape: jnp.zeros(shape).at[self.units : 2 * self.units].set(1),
      (width,),
    )
    bias_hh = self.param("bias_hh", nn.initializers.zeros, (width,))

    # What a word does to the gates does not depend on where it stands: one
    # product per word of the vocabulary, whatever the number of tokens.
    words = embedding @ kernel_ih.astype(self.dtype)  # [words, 4 * units]
    words = add_rows(words, bias_ih, bias_hh)
    return run_lstm(words, kernel_hh.astype(self.dtype), question, lengths)


PADDINGS = ("absent", "front", "behind")


class QuestionEncoder(nn.Module):
  """Embedding of 32 and LSTM of 128 or 256 (Santoro et al. 2017).

  Attributes:
    num_words: Rows of the embedding, less the padding's.
    embedding_size: Its columns.
    lstm_units: Size of the state.
    bidirectional: Also read from the other end, padding included.
    reverse: Read from the last word to the first.
    padding: "absent" reads the words and nothing else; "front" and "behind"
      read the padding, too, before or after them: its embedding is a trained
      vector like others. The reference reverses the padded question, so that
      the padding comes first.
    dtype: Type of the products.
  """

  num_words: int
  embedding_size: int
  lstm_units: int
  bidirectional: bool
  reverse: bool
  padding: str
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, question: Int[Array, "B T"], length: Int[Array, " B"]
  ) -> Float[Array, "B Q"]:
    """Encodes questions.

    Args:
      question: Word indices from 1, padded with 0 on the right.
      length: Number of words.

    Returns:
      lstm_units numbers, or twice as many (forward then backward state) when
      bidirectional.

    Raises:
      ValueError: There is no such padding.
    """
    if self.padding not in PADDINGS:
      raise ValueError(
        f"config.model.padding is {self.padding!r}, none of "
        f"{', '.join(PADDINGS)}"
      )
    forward = reverse_sequences(question, length) if self.reverse else question
    if self.padding == "front":
      forward = words_last(forward, length)
    if self.padding != "absent":
      length = jnp.full_like(length, question.shape[1])
    orders = forward, reverse_sequences(forward, length)
    # Row 0 is padding's.
    embed = nn.Embed(
      self.num_words + 1,
      self.embedding_size,
      embedding_init=nn.initializers.normal(1.0),
      dtype=self.dtype,
      name="embedding",
    )
    embedding = embed(jnp.arange(self.num_words + 1))
    states = [
      LSTM(self.lstm_units, self.dtype, name=name)(embedding, order, length)
      for name, order in zip(("lstm", "lstm_backward"), orders, strict=True)
      if self.bidirectional or name == "lstm"
    ]
    return jnp.concatenate(states, -1)


def reverse_sequences(
  question: Int[Array, "B T"], length: Int[Array, " B"]
) -> Int[Array, "B T"]:
  """Reverses the first length[b] entries of every row."""
  steps = jnp.arange(question.shape[1])[None]
  index = jnp.where(steps < length[:, None], length[:, None] - 1 - steps, steps)
  return jnp.take_along_axis(question, index, axis=1)


def words_last(
  question: Int[Array, "B T"], length: Int[Array, " B"]
) -> Int[Array, "B T"]:
  """Moves the first length[b] entries of every row to its end."""
  steps = jnp.arange(question.shape[1])[None]
  index = (steps + length[:, None]) % question.shape[1]
  return jnp.take_along_axis(question, index, axis=1)
