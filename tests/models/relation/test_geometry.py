"""How boxes lie to each other, against loops and by what must not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from relation_loops import embed, geometry_of_pair, random_boxes

from rn_jax.models.relation.geometry import (
  DENOMINATORS,
  GEOMETRIES,
  embed_geometry,
  relative_geometry,
)

RNG = np.random.default_rng(0)
QUERIES = jnp.array(random_boxes(RNG, 2, 4))
KEYS = jnp.array(random_boxes(RNG, 2, 3))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("denominator", DENOMINATORS)
def test_geometry_and_embedding_are_those_of_the_loops(geometry, denominator):
  relative = relative_geometry(QUERIES, KEYS, geometry, denominator)
  for s, n, m in np.ndindex(2, 4, 3):
    expected = geometry_of_pair(
      QUERIES[s, n], KEYS[s, m], geometry, denominator
    )
    np.testing.assert_allclose(relative[s, n, m], expected, atol=1e-5)
    # Of the same float32 numbers: the embedding magnifies by up to 100.
    exact = embed(np.asarray(relative[s, n, m], float), 64)
    embedded = embed_geometry(relative[s, n, m])
    np.testing.assert_allclose(embedded, exact, atol=1e-3)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("denominator", DENOMINATORS)
def test_neither_shift_nor_scale_matters(geometry, denominator):
  def relative(boxes):
    return relative_geometry(boxes, boxes, geometry, denominator)

  expected = relative(QUERIES)
  shift = np.float32([0.3, -0.2, 0.3, -0.2])
  # Differences of shifted edges are rounded otherwise.
  np.testing.assert_allclose(relative(QUERIES + shift), expected, atol=1e-4)
  scale = np.float32([4, 0.5, 4, 0.5])
  np.testing.assert_array_equal(relative(QUERIES * scale), expected)


def test_only_signed_geometry_sees_a_mirror():
  left, upper, right, lower = jnp.unstack(QUERIES, axis=-1)
  mirrored = jnp.stack([1 - right, upper, 1 - left, lower], -1)
  for geometry, sign in zip(GEOMETRIES, (1, -1), strict=True):
    before = relative_geometry(QUERIES, QUERIES, geometry)
    after = relative_geometry(mirrored, mirrored, geometry)
    np.testing.assert_allclose(after[..., 0], sign * before[..., 0], atol=1e-4)
    np.testing.assert_allclose(after[..., 1:], before[..., 1:], atol=1e-4)
  assert before[0, 0, 1, 0] != 0


def test_bfloat16_boxes_are_not_computed_in_bfloat16():
  boxes = jnp.asarray(QUERIES, jnp.bfloat16)
  relative = relative_geometry(boxes, boxes)
  embedded = embed_geometry(relative)
  assert relative.dtype == embedded.dtype == jnp.float32
  exact = boxes.astype(jnp.float32)
  np.testing.assert_array_equal(relative, relative_geometry(exact, exact))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_boxes_without_extent_stay_finite(geometry):
  boxes = jnp.zeros((1, 2, 4)).at[0, 0].set(jnp.array([0.1, 0.1, 0.3, 0.3]))
  value, gradient = jax.value_and_grad(
    lambda b: embed_geometry(relative_geometry(b, b, geometry)).sum()
  )(boxes)
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()


def test_what_there_is_not_is_refused():
  with pytest.raises(ValueError, match=r"'log'.*log_abs.*signed"):
    relative_geometry(QUERIES, KEYS, "log")
  with pytest.raises(ValueError, match=r"'both'.*query.*key"):
    relative_geometry(QUERIES, KEYS, denominator="both")
  with pytest.raises(ValueError, match="60, no multiple of 8"):
    embed_geometry(jnp.zeros((3, 4)), 60)
