"""The context block of a config, to be put behind a convolution."""

from typing import Any

import flax.linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from rn_jax.models.context.global_context import (
  effective_squeeze_excite,
  global_context,
  simplified_non_local,
  squeeze_excite,
)
from rn_jax.models.context.local_relation import LocalRelation
from rn_jax.models.context.non_local import NonLocal

KINDS = ("none", "se", "ese", "gc", "snl", "nl", "lr")


class AddedLocalRelation(nn.Module):
  """A local relation layer whose result is added to what it reads.

  Alone it would take the place of a convolution, as in LR-Net; like this it is
  a block as the others are.
  """

  dtype: DTypeLike

  @nn.compact
  def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    return x + LocalRelation(x.shape[-1], dtype=self.dtype, name="layer")(x)


def make_context(
  config: Any, channels: int, dtype: DTypeLike, name: str
) -> nn.Module:
  """Makes the block that config.model.encoder.context asks for, if not "none".

  Args:
    config: That part of a config.
    channels: Of the feature map.
    dtype: Type of the products.
    name: Of the module.

  Returns:
    From cells [B, H, W, C] to cells of the same shape.

  Raises:
    ValueError: There is no block of that kind.
  """
  common = {"dtype": dtype, "name": name}
  match config.kind:
    case "se":
      return squeeze_excite(ratio=config.ratio, **common)
    case "ese":
      return effective_squeeze_excite(**common)
    case "gc":
      return global_context(ratio=config.ratio, **common)
    case "snl":
      return simplified_non_local(**common)
    case "nl":
      width = max(int(channels * config.ratio), 1)
      return NonLocal(features=width, **common)
    case "lr":
      return AddedLocalRelation(**common)
  raise ValueError(
    f"config.model.encoder.context.kind is {config.kind!r}, none of "
    f"{', '.join(KINDS)}"
  )
