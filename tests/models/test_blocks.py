"""Scenes in blocks against all of them at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rn_jax.models.blocks import map_blocks, scenes_in_cache, sum_over_blocks
from rn_jax.models.scene import Scene

# Scenes of 1 to 8 objects; the third has a hole.
MASK = np.arange(8) < np.array([[8], [1], [5], [3], [4], [2], [6]])
MASK[2, 1] = False


def make_scenes():
  rng = np.random.default_rng(0)
  objects = rng.normal(size=(*MASK.shape, 3)).astype(np.float32)
  return objects, rng.normal(size=len(MASK)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("masked", [True, False])
def test_blocks_keep_the_order_and_look_at_every_object(block, masked):
  objects, _ = make_scenes()
  weights = MASK if masked else np.ones_like(MASK)
  mask = jnp.array(MASK) if masked else None
  seen = []

  def function(scene, weight):
    rows = scene.objects.shape[1]
    seen.append(rows)
    if scene.mask is not None:
      weight = scene.mask
    each = (scene.objects * weight[:, :rows, None]).sum(1)
    return each.sum(0), each

  scene = Scene(jnp.array(objects), mask)
  total, each = map_blocks(function, scene, weights, block)
  expected = (objects * weights[..., None]).sum(1)
  np.testing.assert_allclose(each, expected, rtol=1e-5)
  np.testing.assert_allclose(total, expected.sum(0), rtol=1e-5)
  assert set(seen) == ({2, 4, 6, 8} if masked else {8})


def test_a_block_is_told_the_least_of_four_sizes_that_holds_its_objects():
  objects, _ = make_scenes()
  boxes = np.repeat(objects, 2, -1)[..., :4]

  def function(scene, rest):
    rows = scene.objects.shape[1]
    assert scene.boxes.shape == (1, rows, 4)
    return (), jnp.full(1, rows)

  scene = Scene(jnp.array(objects), jnp.array(MASK), jnp.array(boxes))
  _, rows = map_blocks(function, scene, (), 1)
  np.testing.assert_array_equal(rows, [8, 2, 6, 4, 4, 2, 6])


@pytest.mark.parametrize("block", [1, 3, 7])
def test_the_gradient_that_comes_with_the_loss_is_the_gradient(block):
  objects, target = make_scenes()

  def loss(params, scene, shift, target):
    hidden = jnp.tanh(scene.objects @ params["kernel"]) + shift[:, None, None]
    value = (hidden * scene.mask[..., None]).sum((1, 2)) - target
    return jnp.square(value).sum(), value > 0

  def total(params, x, block):
    scene = Scene(jnp.sin(x), jnp.array(MASK))
    shift = jnp.cos(x[:, 0, 0])
    value, right = sum_over_blocks(loss, params, scene, shift, target, block)
    return 3 * value + (params["kernel"] ** 2).sum(), right

  params = {"kernel": jnp.asarray(objects[0, :3])}
  (expected, right), gradients = jax.value_and_grad(
    total, (0, 1), has_aux=True
  )(params, objects, None)
  (value, found), others = jax.jit(
    jax.value_and_grad(total, (0, 1), has_aux=True), static_argnums=2
  )(params, objects, block)
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  np.testing.assert_array_equal(found, right)
  for a, b in zip(
    jax.tree.leaves(others), jax.tree.leaves(gradients), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  assert np.abs(others[1][0]).max() > 0.1


def test_a_block_fills_the_cache_and_holds_a_scene_at_least():
  # The published networks: 100 pairs of 512 numbers, 4,096 of 256.
  assert scenes_in_cache(100 * 512) == 16
  assert scenes_in_cache(4096 * 256) == 1
  assert scenes_in_cache(10**9) == 1
