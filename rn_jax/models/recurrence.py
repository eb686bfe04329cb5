"""The LSTM's recurrence over words, with its gradient written out.

Three things that differentiating a scan would not do: the loop ends with the
longest question, nothing per token but states and gates is kept, and the
kernel's gradient is taken from the tokens of several steps at once.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Questions read at a time on a CPU, sorted by length; see run_lstm.
_QUESTIONS_PER_GROUP = 64

# Steps whose tokens are multiplied together for the kernel's gradient.
_STEPS_PER_PRODUCT = 8


def run_lstm(
  words: Float[Array, "words gates"],
  kernel: Float[Array, "U gates"],
  question: Int[Array, "B T"],
  lengths: Int[Array, " B"],
) -> Float[Array, "B U"]:
  """Reads questions from a zero state; returns the last hidden states.

  On a CPU they are read in groups of about the same length, so that few steps
  are idle and a group's states stay in the cache.

  Args:
    words: Each word's part of the gates i, f, g, o.
    kernel: The hidden state's part.
    question: Rows of `words`.
    lengths: Steps from there on leave the state as it is.
  """
  b = len(question)
  size = _QUESTIONS_PER_GROUP
  if b <= size or jax.default_backend() != "cpu":
    return _run(words, kernel, question[None], lengths[None])[0]
  order = jnp.argsort(lengths)
  # The last group is filled up with copies, which nobody asks for again.
  filled = order[jnp.minimum(jnp.arange(-(-b // size) * size), b - 1)]
  hidden = _run(
    words,
    kernel,
    question[filled].reshape(-1, size, question.shape[1]),
    lengths[filled].reshape(-1, size),
  )
  return hidden.reshape(-1, len(kernel))[jnp.argsort(order)]


@jax.custom_vjp
def _run(
  words: Float[Array, "words gates"],
  kernel: Float[Array, "U gates"],
  question: Int[Array, "G R T"],
  lengths: Int[Array, "G R"],
) -> Float[Array, "G R U"]:
  """Reads groups, one after another."""
  return _read(words, kernel, question, lengths, keep=False)[0]


def _num_steps(
  question: Int[Array, "G R T"], lengths: Int[Array, " R"]
) -> Int[Array, ""] | int:
  """Returns how many steps a group takes.

  A CPU stops at the longest question. An accelerator would have to ask the
  host at every step whether to go on, which costs more than idle steps do.
  """
  if jax.default_backend() != "cpu":
    return question.shape[-1]
  return jnp.minimum(lengths.max(), question.shape[-1])


def _read(words, kernel, question, lengths, keep):
  """Returns the last hidden states and, to keep, (gates, hiddens, cells).

  These are [G, T, R, ...], T rounded up to whole products: gates after their
  nonlinearities, states before the step.
  """
  (groups, rows, t), units = question.shape, len(kernel)
  t = -(-t // _STEPS_PER_PRODUCT) * _STEPS_PER_PRODUCT
  widths = (4, 1, 1) if keep else ()

  def read_group(group, carry):
    def step(time, carry):
      hidden, cell, kept = carry
      gates = words[question[group, :, time]] + hidden @ kernel
      i, f, g, o = jnp.split(gates, 4, -1)
      i, f, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o)
      g = jnp.tanh(g)
      if keep:
        now = jnp.concatenate([i, f, g, o], -1), hidden, cell
        kept = tuple(
          x.at[group, time].set(y) for x, y in zip(kept, now, strict=True)
        )
      live = (time < lengths[group])[:, None]
      new_cell = f * cell + i * g
      hidden = jnp.where(live, o * jnp.tanh(new_cell), hidden)
      return hidden, jnp.where(live, new_cell, cell), kept

    last, kept = carry
    zeros = jnp.zeros((rows, units), kernel.dtype)
    steps = _num_steps(question, lengths[group])
    hidden, _, kept = jax.lax.fori_loop(0, steps, step, (zeros, zeros, kept))
    return last.at[group].set(hidden), kept

  last = jnp.zeros((groups, rows, units), kernel.dtype)
  kept = tuple(
    jnp.zeros((groups, t, rows, n * units), kernel.dtype) for n in widths
  )
  return jax.lax.fori_loop(0, groups, read_group, (last, kept))


def _forward(words, kernel, question, lengths):
  hidden, kept = _read(words, kernel, question, lengths, keep=True)
  return hidden, (words, kernel, question, lengths, kept)


def _backward(saved, d_last):
  words, kernel, question, lengths, (gates, hiddens, cells) = saved
  padding = gates.shape[1] - question.shape[2]
  tokens = jnp.pad(question, ((0, 0), (0, 0), (0, padding))).swapaxes(1, 2)

  def unread_group(group, carry):
    d_words, d_kernel, d_gates = carry
    steps = _num_steps(question, lengths[group])
    products = -(-steps // _STEPS_PER_PRODUCT)

    def step(number, carry):
      d_hidden, d_cell, d_gates = carry
      time = products * _STEPS_PER_PRODUCT - 1 - number
      i, f, g, o = jnp.split(gates[group, time], 4, -1)
      cell = cells[group, time]
      squashed = jnp.tanh(f * cell + i * g)
      live = (time < lengths[group])[:, None]
      d_new = d_cell + d_hidden * o * (1 - squashed * squashed)
      parts = (
        d_new * g * i * (1 - i),
        d_new * cell * f * (1 - f),
        d_new * i * (1 - g * g),
        d_hidden * squashed * o * (1 - o),
      )
      d_gate = jnp.where(live, jnp.concatenate(parts, -1), 0)
      d_hidden = jnp.where(live, d_gate @ kernel.T, d_hidden)
      d_cell = jnp.where(live, d_new * f, d_cell)
      return d_hidden, d_cell, d_gates.at[time].set(d_gate)

    d_hidden = d_last[group]
    _, _, d_gates = jax.lax.fori_loop(
      0,
      products * _STEPS_PER_PRODUCT,
      step,
      (d_hidden, jnp.zeros_like(d_hidden), d_gates),
    )

    def add_product(number, carry):
      def part(x):
        start = number * _STEPS_PER_PRODUCT
        x = jax.lax.dynamic_slice_in_dim(x, start, _STEPS_PER_PRODUCT)
        return x.reshape(-1, *x.shape[2:])

      d_words, d_kernel = carry
      d_gate = part(d_gates)
      is_word = part(tokens[group])[None] == jnp.arange(len(words))[:, None]
      wide = {"preferred_element_type": jnp.float32}
      d_words += jnp.matmul(is_word.astype(d_gate.dtype), d_gate, **wide)
      d_kernel += jnp.matmul(part(hiddens[group]).T, d_gate, **wide)
      return d_words, d_kernel

    sums = jax.lax.fori_loop(0, products, add_product, (d_words, d_kernel))
    return *sums, d_gates

  zeros = tuple(jnp.zeros(x.shape, jnp.float32) for x in (words, kernel))
  d_words, d_kernel, _ = jax.lax.fori_loop(
    0, len(question), unread_group, (*zeros, jnp.zeros_like(gates[0]))
  )
  d_words, d_kernel = d_words.astype(words.dtype), d_kernel.astype(kernel.dtype)
  return d_words, d_kernel, None, None


_run.defvjp(_forward, _backward)
