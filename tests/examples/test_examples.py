"""The examples run, and their yardsticks measure what they say."""

import jax.numpy as jnp
import numpy as np

from examples import duplicate_removal, spatio_temporal


def test_duplicate_removal_runs_and_measures():
  rows = duplicate_removal.compare(updates=2, seed=0, count=3)
  assert {len(values) for values in rows.values()} == {5}
  batch = duplicate_removal.pictures(np.random.default_rng(0), 3)
  # The true boxes themselves are all found, and each only once.
  truth = {"boxes": batch["truth"], "mask": batch["truth_mask"]}
  scores = np.where(batch["truth_mask"], 0.9, 0.0)
  assert duplicate_removal.f1(batch | truth, scores, 0.5, 0.9) == 1
  twice = {k: jnp.concatenate([v, v], 1) for k, v in truth.items()}
  scores = np.concatenate([scores, 0.9 * scores], 1)
  both = duplicate_removal.f1(batch | twice, scores, 0.5, 0.9)
  assert np.isclose(both, 2 / 3)
  kept = duplicate_removal.suppress(
    batch | twice | {"scores": jnp.array(scores)}, 0.99
  )
  np.testing.assert_array_equal(
    kept > 0, np.append(scores[:, :4] > 0, np.zeros((3, 4), bool), 1)
  )


def test_spatio_temporal_runs_and_measures():
  rows = spatio_temporal.compare(updates=2, seed=0, count=3)
  assert {len(values) for values in rows.values()} == {3}
  batch = spatio_temporal.scenes(np.random.default_rng(0), 3, 0.0)
  assert spatio_temporal.accuracy(batch, jnp.float32(batch["same"])) == 1
  assert spatio_temporal.accuracy(batch, -jnp.float32(batch["same"])) < 0.2
