"""One vector of context for all cells: SE, eSE, simplified non-local, GC."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

CONTEXTS = ("attention", "average")
TRANSFORMS = ("linear", "bottleneck", "normalized_bottleneck")
FUSIONS = ("add", "scale", "hard_scale", "scale_and_add")

_MASKED = -1e9  # not -inf: a row of nothing else would be NaN


class GlobalContext(nn.Module):
  """Gathers a context, transforms it, fuses it with every cell.

  The frame of Cao et al. 2019 ("GCNet"), of which the functions
  below are the well-known cases. Where it adds, its last layer starts at zero
  and the block as the identity; until that layer has moved, nothing else has a
  gradient. Where it scales, a last layer of zeros halves x instead. The bias
  of the attention never has a gradient, since it moves all logits alike.

  The weights of the cells, float32 of [B, H, W], are in "intermediates" under
  "attention" where apply is given mutable=["intermediates"].

  Attributes:
    context: "attention": sum of softmax_j(w_k . x_j) x_j; "average".
    transform: Of the context. "linear": one layer. "bottleneck": two with a
      ReLU between. "normalized_bottleneck": LayerNorm before the ReLU.
    fusion: "add"; "scale": times the sigmoid; "hard_scale": times the hard
      sigmoid clip(t / 6 + 1/2, 0, 1); "scale_and_add", in this order, each
      with its own transform.
    ratio: Width of the bottleneck by that of x. Of 24 channels, 1/16 would be
      one, of which LayerNorm leaves nothing: take 1/4.
    last_init: Of the kernel of the last layer.
    dtype: Type of the layers; logits, softmax and sums over cells are float32.
  """

  context: str = "attention"
  transform: str = "normalized_bottleneck"
  fusion: str = "add"
  ratio: float = 1 / 16
  last_init: Initializer = nn.initializers.zeros
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    mask: Bool[Array, "B H W"] | None = None,
  ) -> Float[Array, "B H W C"]:
    """Fuses cells with their context.

    Args:
      x: Cells.
      mask: False where a cell is padding and gives nothing to the context; an
        image without any True has a context of zeros. None: all cells count.

    Raises:
      ValueError: A choice is unknown, or a normalised bottleneck has less than
        two channels.
    """
    for name, known in (
      ("context", CONTEXTS),
      ("transform", TRANSFORMS),
      ("fusion", FUSIONS),
    ):
      if getattr(self, name) not in known:
        raise ValueError(
          f"{name} is {getattr(self, name)!r}, not one of {known}"
        )
    x = x.astype(self.dtype)
    weights = self._weights(x, mask)
    self.sow("intermediates", "attention", weights)
    context = jnp.einsum("bhw,bhwc->bc", weights, x.astype(jnp.float32))
    context = context.astype(self.dtype)[:, None, None]  # [B, 1, 1, C]
    if self.fusion in ("scale", "scale_and_add"):
      x *= nn.sigmoid(self._transformed(context, "scale"))
    if self.fusion == "hard_scale":
      x *= nn.hard_sigmoid(self._transformed(context, "scale"))
    if self.fusion in ("add", "scale_and_add"):
      x += self._transformed(context, "add")
    return x

  def _weights(self, x, mask):
    """Returns the share of each cell in the context, float32, [B, H, W]."""
    b, h, w, _ = x.shape
    logits = jnp.zeros((b, h * w))
    if self.context == "attention":
      logits = nn.Dense(
        1,
        kernel_init=nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
        dtype=self.dtype,
        name="attention_logits",
      )(x).reshape(b, -1)
    logits = logits.astype(jnp.float32)
    if mask is not None:
      logits = jnp.where(mask.reshape(b, -1), logits, _MASKED)
    weights = jax.nn.softmax(logits, -1).reshape(b, h, w)
    return weights if mask is None else weights * mask

  def _transformed(self, context, name):
    channels = context.shape[-1]
    if self.transform != "linear":
      width = max(int(channels * self.ratio), 1)
      context = nn.Dense(width, dtype=self.dtype, name=f"{name}_0")(context)
      if self.transform == "normalized_bottleneck":
        if width < 2:
          raise ValueError(
            f"a bottleneck of {width} of {channels} channels is constant after"
            f" LayerNorm; raise ratio={self.ratio} to 2 / {channels} or more"
          )
        context = nn.LayerNorm(
          epsilon=1e-5, dtype=self.dtype, name=f"{name}_norm"
        )(context)
      context = nn.relu(context)
    return nn.Dense(
      channels,
      kernel_init=self.last_init,
      dtype=self.dtype,
      name=f"{name}_1",
    )(context)


def squeeze_excite(**fields) -> GlobalContext:
  """SE (Hu et al. 2018): scales channels by a bottleneck of the average."""
  return GlobalContext(
    context="average",
    transform="bottleneck",
    fusion="scale",
    last_init=nn.initializers.lecun_normal(),
    **fields,
  )


def effective_squeeze_excite(**fields) -> GlobalContext:
  """eSE (Lee and Park 2020): one layer and a hard sigmoid."""
  return GlobalContext(
    context="average",
    transform="linear",
    fusion="hard_scale",
    last_init=nn.initializers.lecun_normal(),
    **fields,
  )


def simplified_non_local(**fields) -> GlobalContext:
  """SNL (Cao et al. 2019): one attention map for all queries."""
  return GlobalContext(transform="linear", **fields)


def global_context(**fields) -> GlobalContext:
  """GC (Cao et al. 2019): SNL with a normalised bottleneck."""
  return GlobalContext(**fields)
