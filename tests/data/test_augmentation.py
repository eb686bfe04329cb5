"""The warp against loops and SciPy, and the range of the augmentation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from rn_jax.data.augmentation import PAD, augment, warp


def test_no_motion_is_the_identity():
  image = np.random.default_rng(0).random((9, 12, 3), np.float32)
  np.testing.assert_allclose(
    warp(image, jnp.zeros(2), jnp.zeros(())), image, atol=1e-6
  )


def test_a_shift_is_a_crop_of_the_padded_image():
  image = np.random.default_rng(1).random((16, 20, 3), np.float32)
  padded = np.pad(image, ((PAD, PAD), (PAD, PAD), (0, 0)))
  for dy, dx in ((-8, 3), (5, -7), (8, 8)):
    expected = padded[PAD + dy : PAD + dy + 16, PAD + dx : PAD + dx + 20]
    result = warp(image, jnp.array([dy, dx], jnp.float32), jnp.zeros(()))
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("angle", [0.05, -0.03])
def test_rotation_equals_scipys_interpolation(angle):
  image = np.random.default_rng(2).random((15, 15, 2), np.float32)
  y, x = np.mgrid[:15, :15] - 7.0
  source = [
    np.cos(angle) * y + np.sin(angle) * x + 7.0 + 2.0,
    -np.sin(angle) * y + np.cos(angle) * x + 7.0 - 1.0,
  ]
  result = warp(image, jnp.array([2.0, -1.0]), jnp.float32(angle))
  for channel in range(2):
    expected = ndimage.map_coordinates(
      np.pad(image[..., channel], 4),
      [coordinate + 4 for coordinate in source],
      order=1,
    )
    np.testing.assert_allclose(result[..., channel], expected, atol=1e-5)


def test_images_of_a_batch_move_each_by_their_own_key():
  image = np.zeros((1, 32, 32, 3), np.uint8)
  image[0, 12:20, 12:20] = 255
  images = np.repeat(image, 6, 0)
  keys = jax.random.split(jax.random.key(0), 6)
  result = np.asarray(jax.jit(augment)(images, keys))
  assert result.dtype == np.float32
  assert 0 <= result.min() < result.max() <= 1.0
  y, x = np.mgrid[:32, :32]
  centres = [
    (
      (r[..., 0] * y).sum() / r[..., 0].sum(),
      (r[..., 0] * x).sum() / r[..., 0].sum(),
    )
    for r in result
  ]
  assert len({tuple(np.round(c, 2)) for c in centres}) == 6
  assert np.abs(np.array(centres) - 15.5).max() <= PAD + 0.5
  # The same key gives the same image whatever its neighbours are.
  alone = jax.jit(augment)(images[:1], keys[3:4])[0]
  np.testing.assert_allclose(alone, result[3], atol=1e-6)
