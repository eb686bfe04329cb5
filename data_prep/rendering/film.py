"""From samples to pixels: where the samples lie, and how they become bytes.

Every pixel has 2x2 samples. A picture that is no coarser than CLEVR's is filmed
as Blender films it: its filter (Blackman-Harris, 1.5 pixels wide) is zero
beyond the pixel's own samples and equal at all of them, so a pixel is the mean
of their light. A coarser picture shall be what becomes of CLEVR's when it is
resized: there the colours of samples are mixed, clipped and in sRGB, and the
resizing filter, a triangle two pixels wide, weighs them 1, 3, 3, 1 either way.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from data_prep.rendering.camera import TAN_X, TAN_Y
from data_prep.rendering.vectors import Vectors
from rn_jax.clevr import HEIGHT, WIDTH

SAMPLES = 2  # per pixel, either way


def is_coarse(width: int, height: int) -> bool:
  """Whether pixels are larger than those of CLEVR's pictures."""
  return width < WIDTH or height < HEIGHT


def directions(
  stage_axes: Float[Array, "3 3"],
  rows: Int[Array, " L"],
  columns: Int[Array, " L"],
  num_rows: int,
  num_columns: int,
) -> Vectors:
  """Rays of unit depth through the samples of a grid that fills the frame."""
  x = TAN_X * ((2 * columns + 1) / num_columns - 1)
  y = TAN_Y * (1 - (2 * rows + 1) / num_rows)
  right, up, back = stage_axes
  return tuple(x * right[i] + y * up[i] - back[i] for i in range(3))


def footprint(num_rows: int, num_columns: int) -> float:
  """Width at depth one of a sample; where the two ways differ, the mean."""
  return TAN_X / num_columns + TAN_Y / num_rows


def srgb(light: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
  """Display value in [0, 1] of linear light, clipped."""
  light = jnp.clip(light, 0, 1)
  curve = 1.055 * jnp.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
  return jnp.where(light <= 0.0031308, 12.92 * light, curve)


def develop(
  light: Float[Array, "2*{height} 2*{width} 3"], width: int, height: int
) -> UInt8[Array, "{height} {width} 3"]:
  """Makes pixels of the linear RGB of samples; sizes are in pixels."""
  if is_coarse(width, height):
    pixels = _triangle(_triangle(srgb(light), 0), 1)
  else:
    blocks = light.reshape(height, SAMPLES, width, SAMPLES, 3)
    pixels = srgb(blocks.mean((1, 3)))
  return jnp.floor(255 * pixels + 0.5).astype(jnp.uint8)


def _triangle(samples, axis: int):
  """Weighs samples 1, 3, 3, 1 along an axis; at the border what is there."""
  samples = jnp.moveaxis(samples, axis, 0)
  even, odd = samples[0::2], samples[1::2]
  before = jnp.concatenate([odd[:1] * 0, odd[:-1]])
  after = jnp.concatenate([even[1:], even[:1] * 0])
  total = before + 3 * even + 3 * odd + after
  number = jnp.full(len(even), 8.0).at[0].add(-1).at[-1].add(-1)
  shape = (-1,) + (1,) * (samples.ndim - 1)
  return jnp.moveaxis(total / number.reshape(shape), 0, axis)
