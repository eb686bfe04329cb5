"""The LSTM and its gradient against a loop over every word."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rn_jax.models import recurrence

NUM_WORDS, UNITS = 5, 4


def read_by_hand(words, kernel, question, lengths):
  """One question at a time, one word at a time."""
  states = []
  for row, length in zip(question, lengths, strict=True):
    hidden = cell = jnp.zeros(UNITS)
    for word in row[:length]:
      i, f, g, o = jnp.split(words[word] + hidden @ kernel, 4)
      cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
      hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
    states.append(hidden)
  return jnp.stack(states)


@pytest.mark.parametrize("per_group", [2, 32])  # three groups, one
@pytest.mark.parametrize("backend", ["cpu", "gpu"])  # the shortened loop or not
def test_states_and_gradients_are_those_of_a_loop(
  per_group, backend, monkeypatch
):
  monkeypatch.setattr(recurrence, "_QUESTIONS_PER_GROUP", per_group)
  monkeypatch.setattr(recurrence.jax, "default_backend", lambda: backend)
  rng = np.random.default_rng(0)
  words = jnp.asarray(rng.normal(size=(NUM_WORDS, 4 * UNITS)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(UNITS, 4 * UNITS)), jnp.float32)
  # The longest has as many words as there are columns, the fourth none.
  lengths = jnp.array([3, 9, 1, 0, 10])
  question = jnp.asarray(rng.integers(0, NUM_WORDS, (5, 10)))
  weights = rng.normal(size=(5, UNITS))

  def differentiate(read):
    def loss(words, kernel):
      hidden = read(words, kernel, question, lengths)
      return (weights * hidden).sum(), hidden

    return jax.grad(loss, (0, 1), has_aux=True)(words, kernel)

  (d_words, d_kernel), hidden = differentiate(recurrence.run_lstm)
  (expected_words, expected_kernel), expected = differentiate(read_by_hand)
  np.testing.assert_allclose(hidden, expected, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(d_words, expected_words, rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(d_kernel, expected_kernel, rtol=1e-3, atol=1e-5)
