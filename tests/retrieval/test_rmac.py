"""R-MAC: which regions, and what their maxima add up to."""

import jax
import numpy as np
import pytest

from rn_jax.retrieval.describe.rmac import regions, rmac


def test_square_map_has_14_regions():
  found = regions(8, 8)
  assert [side for _, _, side in found] == [8] * 1 + [5] * 4 + [4] * 9
  assert found[:5] == [(0, 0, 8), (0, 0, 5), (0, 3, 5), (3, 0, 5), (3, 3, 5)]
  assert found[5:8] == [(0, 0, 4), (0, 2, 4), (0, 4, 4)]


def test_long_map_has_more_regions_along_its_longer_side():
  # Two regions of side 4 along 6 overlap by 1 - 2/4 = .5, three by .75: two are
  # nearer to .4, so each level has one more along that side.
  found = regions(4, 6)
  assert [side for _, _, side in found] == [4] * 2 + [2] * 6 + [2] * 12
  assert found[:2] == [(0, 0, 4), (0, 2, 4)]
  turned = [(left, top, side) for top, left, side in regions(6, 4)]
  assert sorted(turned) == sorted(found)


def test_tiny_maps_have_no_empty_regions():
  assert regions(1, 1) == [(0, 0, 1)]


@pytest.mark.parametrize("shape", [(8, 8, 5), (5, 9, 3)])
def test_sums_unit_vectors_of_region_maxima(shape):
  rng = np.random.default_rng(0)
  feature_map = np.maximum(rng.normal(size=shape), 0).astype(np.float32)

  def unit(v):
    return v / np.linalg.norm(v)

  total = unit(feature_map.max((0, 1)))
  for top, left, side in regions(*shape[:2]):
    cells = [
      feature_map[i, j]
      for i in range(top, top + side)
      for j in range(left, left + side)
    ]
    assert len(cells) == side * side
    total = total + unit(np.max(cells, 0))
  found = np.asarray(jax.jit(rmac)(feature_map))
  np.testing.assert_allclose(found, unit(total), rtol=1e-5)
  np.testing.assert_allclose(np.linalg.norm(found), 1, rtol=1e-6)


def test_transposed_square_map_gives_the_same():
  feature_map = np.random.default_rng(1).uniform(size=(8, 8, 6))
  turned = rmac(feature_map.transpose(1, 0, 2))
  np.testing.assert_allclose(turned, rmac(feature_map), rtol=1e-5)


def test_transforms_regions_and_keeps_zeros():
  feature_map = np.random.default_rng(2).uniform(size=(4, 4, 6))
  found = rmac(feature_map, transform=lambda v: -2 * v[:3])
  assert found.shape == (3,)
  np.testing.assert_allclose(np.linalg.norm(found), 1, rtol=1e-6)
  np.testing.assert_array_equal(rmac(np.zeros((4, 4, 2))), [0, 0])
