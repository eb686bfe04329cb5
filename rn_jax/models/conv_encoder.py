"""Objects from pixels: the cells of a small convolutional network."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8

from rn_jax.models.context.block import make_context


class ConvEncoder(nn.Module):
  """Turns an image into a grid of cells with their coordinates.

  Per layer: convolution 3x3 with stride 2, BatchNorm, ReLU. Padding is one
  pixel on every side; "SAME" would pad only right and below at stride 2 and
  shift the published weights by a pixel a layer. Four layers of 24 make
  64 objects of 26 numbers from 128x128 pixels (Santoro et al. 2017,
  supplement; coordinates as in the reference).

  Attributes:
    channels: Width of each layer.
    halvings: The layers that have stride 2; those behind keep the size. None:
      all.
    context: config.model.encoder.context: a block behind some layers, whose
      cells then know of others; None: none.
    dtype: Type of the products.
    axis_name: The pmap axis over which BatchNorm sees the global batch.
  """

  channels: Sequence[int]
  dtype: DTypeLike
  axis_name: str | None = None
  halvings: int | None = None
  context: Any = None

  @nn.compact
  def __call__(
    self,
    image: UInt8[Array | np.ndarray, "S H W C"] | Float[Array, "S H W C"],
    *,
    train: bool,
  ) -> Float[Array, "S cells F"]:
    """Encodes images.

    Args:
      image: uint8, or float in [0, 1].
      train: Normalise with the statistics of this (global) batch and update
        the running ones; otherwise use the running ones.

    Returns:
      Cells in row-major order, each of channels[-1] features followed by its x
      (column) and y (row), both from -4 to 4.

    Raises:
      ValueError: There is no such context, or no convolution for it.
    """
    stages = ()
    if self.context is not None and self.context.kind != "none":
      stages, last = self.context.stages, len(self.channels) - 1
      if wrong := [i for i in stages if not 0 <= i <= last]:
        raise ValueError(
          f"config.model.encoder.context.stages has {wrong[0]}; convolutions "
          f"are counted from 0 to {last}"
        )
    x = image
    if x.dtype == jnp.uint8:
      x = x.astype(jnp.float32) / 255.0
    x = x.astype(self.dtype)
    for index, channels in enumerate(self.channels):
      stride = 2 if self.halvings is None or index < self.halvings else 1
      x = nn.Conv(
        channels,
        (3, 3),
        strides=(stride, stride),
        padding=((1, 1), (1, 1)),
        dtype=self.dtype,
        name=f"conv_{index}",
      )(x)
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=self.dtype,
        axis_name=self.axis_name if train else None,
        name=f"batch_norm_{index}",
      )(x)
      x = nn.relu(x)
      if index in stages:
        x = make_context(
          self.context, channels, self.dtype, f"context_{index}"
        )(x)
    s, h, w, c = x.shape
    cells = jnp.concatenate(
      [x, jnp.broadcast_to(cell_coordinates(h, w, x.dtype), (s, h, w, 2))], -1
    )
    return cells.reshape(s, h * w, c + 2)


def cell_coordinates(
  height: int, width: int, dtype: DTypeLike
) -> Float[Array, "height width 2"]:
  """Returns x by column and y by row, each in [-4, 4]."""
  x = jnp.linspace(-4.0, 4.0, width)
  y = jnp.linspace(-4.0, 4.0, height)
  grid = jnp.stack(jnp.meshgrid(x, y), -1)  # [height, width, 2]
  return grid.astype(dtype)
