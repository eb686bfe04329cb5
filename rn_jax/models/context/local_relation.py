"""Local relation layer (Hu et al. 2019)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

SIMILARITIES = ("mul", "sq", "abs")

_MASKED = -1e9  # not -inf: its gradient would be NaN


class LocalRelation(nn.Module):
  """Sums the neighbours of each cell by their relation to it.

  y_p = W sum_p' softmax_p'(s(q_p, k_p') + prior(p' - p)) x_p', over a window
  around p. Queries and keys are one number for each group of adjacent
  channels; values are x itself. Neighbours beyond the border have no weight.

  The paper's own similarity, and the width and scale of the network of the
  prior, could not be verified: "mul" is the default of the authors' operator;
  offsets go from -1 to 1, hidden units are as many as groups, at least 8. With
  a prior_scale of 1 all windows start as near-uniform averages, which tell no
  shapes apart; examples/local_relation.py shows what a larger one does.

  Without a gradient, since they move all logits of a window alike: the bias of
  the keys under "mul", and the prior's last bias.

  The attention, float32 of [B, h, w, kernel^2, groups], is in "intermediates"
  under "attention" where apply is given mutable=["intermediates"].

  Attributes:
    features: Channels of the result.
    kernel: Side of the window, odd.
    channels_per_key: Size of a group.
    strides: Step between windows; the result has ceil(H / strides) rows.
    prior_scale: Of the prior when training begins, by that of a dense layer.
    similarity: Of query q and key k: "mul": q k; "sq": -(q - k)^2; "abs":
      -|q - k|.
    dtype: Type of the layers; prior, logits, softmax and sums are float32.
  """

  features: int
  kernel: int = 7
  channels_per_key: int = 8
  strides: int = 1
  prior_scale: float = 1.0
  similarity: str = "mul"
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w F"]:
    """Relates cells to their neighbours.

    Raises:
      ValueError: Groups do not divide the channels, the window has no centre,
        or the similarity is unknown.
    """
    channels = x.shape[-1]
    groups, rest = divmod(channels, self.channels_per_key)
    if rest:
      raise ValueError(
        f"channels_per_key={self.channels_per_key} does not divide {channels}"
        " channels; change either"
      )
    if self.kernel % 2 == 0:
      raise ValueError(f"kernel is {self.kernel}; a window's side is odd")
    if self.similarity not in SIMILARITIES:
      raise ValueError(
        f"similarity is {self.similarity!r}, not one of {SIMILARITIES}"
      )
    x = x.astype(self.dtype)
    queries = nn.Dense(groups, dtype=self.dtype, name="query")(
      x[:, :: self.strides, :: self.strides]
    )
    keys = nn.Dense(groups, dtype=self.dtype, name="key")(x)
    prior = nn.Dense(max(groups, 8), name="prior_0")(_offsets(self.kernel))
    prior = nn.Dense(
      groups,
      kernel_init=nn.initializers.variance_scaling(
        self.prior_scale**2, "fan_in", "truncated_normal"
      ),
      name="prior_1",
    )(nn.relu(prior))
    weights = local_attention(
      queries, keys, prior, self.strides, self.similarity
    )
    self.sow("intermediates", "attention", weights)
    y = sum_neighbours(x, weights, self.strides).astype(self.dtype)
    return nn.Dense(self.features, dtype=self.dtype, name="channels")(y)


def local_attention(
  queries: Float[Array, "B h w G"],
  keys: Float[Array, "B H W G"],
  prior: Float[Array, "K G"],
  strides: int = 1,
  similarity: str = "mul",
) -> Float[Array, "B h w K G"]:
  """Returns the weights of the neighbours in each window, float32.

  A window's side is the root of K, its cells are row by row. Neighbours beyond
  the border have weight 0.
  """
  kernel = round(len(prior) ** 0.5)
  height, width = keys.shape[1:3]
  keys = _padded(keys.astype(jnp.float32), kernel)
  # Columns, then rows: 14 slices make the 49 neighbours.
  columns = [keys[:, :, i : i + width : strides] for i in range(kernel)]
  keys = jnp.stack(columns, -2)  # [B, H + kernel - 1, w, kernel, G]
  rows = [keys[:, i : i + height : strides] for i in range(kernel)]
  keys = jnp.stack(rows, -3).reshape(*queries.shape[:3], *prior.shape)
  queries = queries.astype(jnp.float32)[..., None, :]
  if similarity == "mul":
    logits = queries * keys
  elif similarity == "sq":
    logits = -jnp.square(queries - keys)
  else:
    logits = -jnp.abs(queries - keys)
  logits += prior.astype(jnp.float32)
  inside = (
    _inside(height, kernel, strides)[:, None, :, None]
    & _inside(width, kernel, strides)[None, :, None]
  ).reshape(*logits.shape[1:4], 1)
  return jax.nn.softmax(jnp.where(inside, logits, _MASKED), -2)


def sum_neighbours(
  x: Float[Array, "B H W C"],
  weights: Float[Array, "B h w K G"],
  strides: int = 1,
) -> Float[Array, "B h w C"]:
  """Returns each window's weighted sum, float32; groups have C / G channels."""
  kernel = round(weights.shape[-2] ** 0.5)
  height, width, channels = x.shape[1:]
  x = _padded(x, kernel)
  # A loop over rows compiles in a fraction of the time of 49 terms. All
  # neighbours of all cells at once would take 49 times x.
  weights = jnp.moveaxis(weights, -2, 0)
  weights = weights.reshape(kernel, kernel, *weights.shape[1:])

  def add_row(total, row):
    index, weights = row
    cells = jax.lax.dynamic_slice_in_dim(x, index, height, 1)[:, ::strides]
    for column in range(kernel):
      neighbour = cells[:, :, column : column + width : strides]
      shares = jnp.repeat(weights[column], channels // weights.shape[-1], -1)
      total += shares * neighbour
    return total, None

  total = jnp.zeros((*weights.shape[2:-1], channels))
  return jax.lax.scan(add_row, total, (jnp.arange(kernel), weights))[0]


def _padded(x, kernel):
  """Returns x with as many zeros on each side as a window has."""
  pad = (kernel // 2, kernel // 2)
  return jnp.pad(x, ((0, 0), pad, pad, (0, 0)))


def _inside(length, kernel, strides):
  """Returns which cells of each window are within the border, [windows, K]."""
  first = np.arange(0, length, strides) - kernel // 2
  cells = first[:, None] + np.arange(kernel)
  return (cells >= 0) & (cells < length)


def _offsets(kernel):
  """Returns x and y of a window's cells, each from -1 to 1, float32."""
  line = np.linspace(-1.0, 1.0, kernel) if kernel > 1 else np.zeros(1)
  return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2).astype(np.float32)
