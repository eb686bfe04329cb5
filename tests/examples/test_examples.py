"""The examples run, and their yardsticks measure what they say."""

import jax.numpy as jnp
import numpy as np

from examples import duplicate_removal, local_relation, spatio_temporal


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


def test_local_relation_runs_and_measures():
  rows = list(local_relation.compare(1, 64, 64, (1,)))
  assert [name for name, *_ in rows] == ["LR-Net-26", "ResNet-26"]
  for _, size, clean, attacked, _ in rows:
    assert size > 1_000
    assert 0 <= attacked <= clean <= 1  # what was wrong is seldom put right
  image, label = local_relation.draw(np.random.default_rng(0), 8)
  assert image.shape == (8, 32, 32, 3)
  assert 0 <= image.min() < image.max() <= 1
  assert set(label) <= {0, 1, 2, 3}
