"""Networks of bottlenecks: LR-Net (Hu et al. 2019), and ResNet beside it."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from rn_jax.models.context.local_relation import LocalRelation

SPATIAL_LAYERS = ("local_relation", "convolution")

# Bottlenecks in each stage, by the number of layers.
STAGE_SIZES = {26: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
OUTPUTS = (256, 512, 1024, 2048)
# The first width is 100 in the authors' table, which eight channels per key do
# not divide.
LR_NET_WIDTHS = (104, 200, 400, 800)
RESNET_WIDTHS = (64, 128, 256, 512)


class BottleneckNetwork(nn.Module):
  """Classifies images by stages of bottlenecks.

  With "local_relation" it is LR-Net, which has no convolution larger than 1x1:
  a ResNet whose 3x3 convolutions are local relation layers, and whose stem is
  a 1x1 convolution and such a layer. With "convolution" it is the ResNet, with
  the strides at its 3x3 convolutions.

  The published LR-Nets have 26 and 50 layers, STAGE_SIZES, on images of
  224 x 224. Each stage but the first halves rows and columns, as do the stem
  and the maximum after it.

  Attributes:
    spatial: "local_relation" or "convolution".
    num_classes: Width of the logits.
    stage_sizes: Bottlenecks in each stage.
    widths: Of the bottlenecks in each stage.
    outputs: Channels of each stage.
    stem: Channels of the stem.
    kernel: Side of the windows of local relation.
    channels_per_key: See LocalRelation; divides stem and widths.
    prior_scale: See LocalRelation.
    dtype: Type of the layers; logits are float32.
    axis_name: Of the devices that share batch statistics.
  """

  spatial: str
  num_classes: int
  stage_sizes: Sequence[int]
  widths: Sequence[int]
  outputs: Sequence[int] = OUTPUTS
  stem: int = 64
  kernel: int = 7
  channels_per_key: int = 8
  prior_scale: float = 1.0
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self, image: Float[Array, "B H W C"], *, train: bool
  ) -> Float[Array, "B classes"]:
    """Returns logits.

    Args:
      image: Normalised as the network was trained.
      train: Normalise with the statistics of this (global) batch and update
        the running ones; otherwise use the running ones.

    Raises:
      ValueError: The spatial layer is unknown, or see LocalRelation.
    """
    if self.spatial not in SPATIAL_LAYERS:
      raise ValueError(
        f"spatial is {self.spatial!r}, not one of {SPATIAL_LAYERS}"
      )
    x = image.astype(self.dtype)
    if self.spatial == "local_relation":
      x = self._pointwise(x, self.stem, "stem_pointwise", train)
      x = self._spatial(nn.relu(x), self.stem, 2, "stem")
    else:
      x = nn.Conv(
        self.stem,
        (7, 7),
        strides=2,
        padding=3,
        use_bias=False,
        dtype=self.dtype,
        name="stem",
      )(x)
    x = nn.relu(self._normalized(x, "stem", train))
    # One cell on every side, as PyTorch pads; no maximum of x is below 0.
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = nn.max_pool(x, (3, 3), (2, 2))
    for stage, (size, width, output) in enumerate(
      zip(self.stage_sizes, self.widths, self.outputs, strict=True)
    ):
      for index in range(size):
        strides = 2 if stage and not index else 1
        x = self._bottleneck(
          x, width, output, strides, f"stage_{stage}_{index}", train
        )
    x = x.astype(jnp.float32).mean((1, 2))
    return nn.Dense(self.num_classes, name="logits")(x)

  def _bottleneck(self, x, width, output, strides, name, train):
    y = nn.relu(self._pointwise(x, width, f"{name}_in", train))
    y = self._spatial(y, width, strides, f"{name}_spatial")
    y = nn.relu(self._normalized(y, f"{name}_spatial", train))
    y = self._pointwise(y, output, f"{name}_out", train)
    if x.shape != y.shape:
      x = x[:, ::strides, ::strides]
      x = self._pointwise(x, output, f"{name}_shortcut", train)
    return nn.relu(x + y)

  def _spatial(self, x, features, strides, name):
    if self.spatial == "local_relation":
      return LocalRelation(
        features,
        kernel=self.kernel,
        channels_per_key=self.channels_per_key,
        prior_scale=self.prior_scale,
        strides=strides,
        dtype=self.dtype,
        name=name,
      )(x)
    return nn.Conv(
      features,
      (3, 3),
      strides=strides,
      padding=1,
      use_bias=False,
      dtype=self.dtype,
      name=name,
    )(x)

  def _pointwise(self, x, features, name, train):
    x = nn.Dense(features, use_bias=False, dtype=self.dtype, name=name)(x)
    return self._normalized(x, name, train)

  def _normalized(self, x, name, train):
    return nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      epsilon=1e-5,
      dtype=self.dtype,
      axis_name=self.axis_name if train else None,
      name=f"{name}_norm",
    )(x)


def lr_net_parameters(
  layers: int,
  widths: Sequence[int] = LR_NET_WIDTHS,
  *,
  stem: int = 64,
  num_classes: int = 1000,
  channels_per_key: int = 8,
) -> int:
  """Returns the number of parameters of LR-Net, rounded, for RGB images.

  A closed formula, which holds also for the authors' first width of 100 with
  its 12.5 keys: 23.40 million with 50 layers, where they report 23.3, and
  14.63 with 26, where 14.7 is reported. That speaks for the layer's own
  product with W; without it there are 20.3 million with 50.

  Args:
    layers: 26 or 50.
    widths: Of the bottlenecks in each stage.
    stem: Channels of the stem.
    num_classes: Width of the logits.
    channels_per_key: See LocalRelation.
  """

  def pointwise(inputs, units):  # with scale and bias of BatchNorm
    return inputs * units + 2 * units

  def local_relation(channels):
    keys = channels / channels_per_key
    hidden = max(keys, 8)
    query_and_key = 2 * (channels + 1) * keys
    prior = 3 * hidden + (hidden + 1) * keys
    return query_and_key + prior + (channels + 1) * channels + 2 * channels

  total = pointwise(3, stem) + local_relation(stem)
  inputs = stem
  for size, width, output in zip(
    STAGE_SIZES[layers], widths, OUTPUTS, strict=True
  ):
    total += pointwise(inputs, output)  # the shortcut
    for _ in range(size):
      total += pointwise(inputs, width) + local_relation(width)
      total += pointwise(width, output)
      inputs = output
  return round(total + (inputs + 1) * num_classes)
