"""Features of boxes: weighted sums over the cells of a feature map."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

_MASKED = -1e9  # not -inf: a row of nothing else would be NaN


class RegionFeatures(nn.Module):
  """Learned region features (Gu et al. 2018, "Learning Region Features").

  Bin k of box b is sum_p w_k(b, p) x(p) over all cells p, with w_k the softmax
  over p of G_k(b, p) + A_k(p): G_k = <W_k V E(b), W E(p)> looks at places,
  A_k = <a_k, x(p)> at what is there. A bias of A_k would move all logits of a
  bin alike and has been left out.

  A re-implementation from secondary descriptions. From memory, to be verified
  against the paper: V shared by all bins and of E(p)'s width; the default
  widths there (embedding 512, geometry 256; here 64); its sparse choice of
  cells in and around a box, in place of which all cells are used here.

  The weights, float32 of [B, R, bins, H, W], are in "intermediates" under
  "attention" where apply is given mutable=["intermediates"].

  Attributes:
    bins: Features of a box, K.
    embedding: Numbers that one coordinate becomes.
    geometry: Width in which boxes and cells are compared.
    coordinate_scale: Factor of all coordinates before their embedding, whose
      shortest period is 2 pi: cells should be about 1 apart.
    kernel_init: Not zeros: both factors of G_k would stay zero.
    dtype: Type of A_k's layer; geometry, softmax and sums are float32.
  """

  bins: int = 9
  embedding: int = 64
  geometry: int = 64
  coordinate_scale: float = 1.0
  kernel_init: Initializer = nn.initializers.lecun_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    boxes: Float[Array, "B R 4"],
    mask: Bool[Array, " B #R #H #W"] | None = None,
  ) -> Float[Array, "B R bins C"]:
    """Returns the features of boxes.

    Args:
      x: Feature map.
      boxes: Centre x, centre y, width, height, in cells of x; the centre of
        the first cell is (0, 0). Finite where masked too.
      mask: Cells that count, for each box or for all: [B, 1, H, W] for padded
        maps, [B, R, 1, 1] for absent boxes, whose features are zeros. None:
        all count.
    """
    b, h, w, _ = x.shape
    place = jnp.stack(jnp.meshgrid(jnp.arange(w), jnp.arange(h)), -1)
    place = place.reshape(h * w, 2).astype(jnp.float32)
    of_box, of_place = (
      embed_coordinates(
        coordinates.astype(jnp.float32) * self.coordinate_scale, self.embedding
      ).reshape(*coordinates.shape[:-1], -1)
      for coordinates in (boxes, place)
    )

    def project(x, width, name, dtype=jnp.float32):
      return nn.Dense(
        width,
        use_bias=False,
        kernel_init=self.kernel_init,
        dtype=dtype,
        name=name,
      )(x)

    queries = project(of_box, self.embedding, "boxes_shared")
    queries = project(queries, self.bins * self.geometry, "boxes_per_bin")
    queries = queries.reshape(b, -1, self.bins, self.geometry)
    keys = project(of_place, self.geometry, "places")
    appearance = project(x, self.bins, "appearance", self.dtype)
    logits = jnp.einsum("brkg,pg->brkp", queries, keys)
    logits = logits.reshape(b, -1, self.bins, h, w)
    logits += jnp.moveaxis(appearance.astype(jnp.float32), -1, 1)[:, None]
    weights = region_weights(logits, mask)
    self.sow("intermediates", "attention", weights)
    return pool_regions(x, weights)


def embed_coordinates(
  z: Float[Array, "*D"], size: int
) -> Float[Array, "*D size"]:
  """Returns sine and cosine, in turns, of z / 1000^(2i / size), float32.

  Raises:
    ValueError: The size is odd.
  """
  if size % 2:
    raise ValueError(f"an embedding of {size} numbers cannot hold pairs")
  angles = z.astype(jnp.float32)[..., None] / 1000.0 ** (
    jnp.arange(0, size, 2) / size
  )
  pairs = jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1)
  return pairs.reshape(*z.shape, size)


def region_weights(
  logits: Float[Array, "B R K H W"],
  mask: Bool[Array, " B #R #H #W"] | None = None,
) -> Float[Array, "B R K H W"]:
  """Returns the softmax over cells, float32; zeros where masked."""
  logits = logits.astype(jnp.float32)
  if mask is None:
    return jax.nn.softmax(logits, (-2, -1))
  mask = mask[:, :, None]
  weights = jax.nn.softmax(jnp.where(mask, logits, _MASKED), (-2, -1))
  return weights * mask


def aligned_weights(
  boxes: Float[Array, "B R 4"], bins: tuple[int, int], size: tuple[int, int]
) -> Float[Array, "B R K H W"]:
  """Returns the weights of RoIAlign with one sample at the centre of each bin.

  The logarithms of these are the logits at which the learned weights become
  RoIAlign. A bin has the sum 1 where its centre is within those of the outer
  cells.

  Args:
    boxes: As in RegionFeatures.
    bins: Rows and columns of bins; K is their product, row by row.
    size: H and W of the feature map.
  """
  boxes = boxes.astype(jnp.float32)

  def of_axis(centre, length, bins, cells):  # [B, R, bins, cells]
    part = (jnp.arange(bins) + 0.5) / bins - 0.5
    sample = centre[..., None] + length[..., None] * part
    distance = jnp.abs(sample[..., None] - jnp.arange(cells))
    return jnp.maximum(0.0, 1.0 - distance)

  x = of_axis(boxes[..., 0], boxes[..., 2], bins[1], size[1])
  y = of_axis(boxes[..., 1], boxes[..., 3], bins[0], size[0])
  weights = jnp.einsum("brih,brjw->brijhw", y, x)
  return weights.reshape(*boxes.shape[:2], -1, *size)


def pool_regions(
  x: Float[Array, "B H W C"], weights: Float[Array, "B R K H W"]
) -> Float[Array, "B R K C"]:
  """Returns weighted sums over cells, taken in float32, in x's type."""
  pooled = jnp.einsum("brkhw,bhwc->brkc", weights, x.astype(jnp.float32))
  return pooled.astype(x.dtype)
