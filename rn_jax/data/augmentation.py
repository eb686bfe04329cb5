"""Augmentation of training images, on the device, in one warp."""

import jax
import jax.numpy as jnp

PAD = 8  # pixels
MAX_ANGLE = 0.05  # radians


def augment(images: jax.Array, keys: jax.Array) -> jax.Array:
  """Crops and rotates images at random (Santoro et al. 2017, supplement).

  Padding by 8 pixels of zeros, a random crop of the original size and a
  random rotation of up to 0.05 rad about the centre, composed into one
  bilinear resampling.

  Args:
    images: [S, H, W, C], uint8 or float in [0, 1].
    keys: [S] PRNG keys.

  Returns:
    [S, H, W, C] float32 in [0, 1].
  """
  if images.dtype == jnp.uint8:
    images = images.astype(jnp.float32) / 255.0

  def augment_one(image, key):
    crop_key, angle_key = jax.random.split(key)
    offset = jax.random.randint(crop_key, (2,), -PAD, PAD + 1)
    angle = jax.random.uniform(angle_key, minval=-MAX_ANGLE, maxval=MAX_ANGLE)
    return warp(image, offset.astype(jnp.float32), angle)

  return jax.vmap(augment_one)(images, keys)


def warp(image: jax.Array, offset: jax.Array, angle: jax.Array) -> jax.Array:
  """Rotates a shifted image about its centre, bilinearly, zeros outside.

  Args:
    image: [H, W, C] float.
    offset: [2] rows and columns by which the crop window is shifted.
    angle: [] radians; positive turns the picture counter-clockwise.

  Returns:
    [H, W, C].
  """
  height, width, _ = image.shape
  centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
  y = jnp.arange(height)[:, None] - centre_y
  x = jnp.arange(width)[None, :] - centre_x
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  source_y = cos * y + sin * x + centre_y + offset[0]
  source_x = -sin * y + cos * x + centre_x + offset[1]
  y0, x0 = jnp.floor(source_y), jnp.floor(source_x)
  fy, fx = source_y - y0, source_x - x0

  def tap(row, column, weight):
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row = jnp.clip(row, 0, height - 1).astype(jnp.int32)
    column = jnp.clip(column, 0, width - 1).astype(jnp.int32)
    return image[row, column] * (weight * inside)[..., None]

  return (
    tap(y0, x0, (1 - fy) * (1 - fx))
    + tap(y0, x0 + 1, (1 - fy) * fx)
    + tap(y0 + 1, x0, fy * (1 - fx))
    + tap(y0 + 1, x0 + 1, fy * fx)
  )
