"""A baseline that was never asked about relations: which values are there?

The Relation Network's own convolutions learn whether an image contains an
object of each of the 15 attribute values (the multi-label CNN of Messina et al.
2019); the mean of their cells describes the image.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from rn_jax.clevr import ATTRIBUTES
from rn_jax.models.conv_encoder import ConvEncoder

# What the targets say is there, in their order.
VALUES = tuple(value for values in ATTRIBUTES.values() for value in values)


class MultilabelNetwork(nn.Module):
  """Convolutions, their cells' sum, and two layers; from pixels only.

  Attributes:
    config: The `model` part of a checkpoint's config; of the Relation
      Network's keys it has `inputs`, `conv_channels`, `dtype` and
      `scenes_per_block`.
    axis_name: The pmap axis over which BatchNorm sees the global batch.
  """

  config: ml_collections.FrozenConfigDict
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self, batch: Mapping[str, jax.Array], *, train: bool = False
  ) -> tuple[jax.Array, dict[str, Any]]:
    """Returns logits [S, 15], and the cells as `objects` [S, N, C + 2].

    Args:
      batch: `image` [S, H, W, 3]; whatever else there is is not read.
      train: Normalise with this batch's statistics.
    """
    dtype = jnp.dtype(self.config.dtype)
    encoder = ConvEncoder(
      self.config.conv_channels, dtype, self.axis_name, name="conv_encoder"
    )
    cells = encoder(batch["image"], train=train)
    # The last two features are a cell's place, the same in every image.
    x = cells[..., :-2].astype(jnp.float32).sum(1)
    x = nn.relu(nn.Dense(len(VALUES), name="hidden")(x))
    return nn.Dense(len(VALUES), name="logits")(x), {"objects": cells}


def soft_margin_loss(logits: jax.Array, targets: jax.Array) -> jax.Array:
  """Returns the mean binary cross entropy of [S, V] logits and targets."""
  losses = optax.sigmoid_binary_cross_entropy(
    logits, targets.astype(logits.dtype)
  )
  return losses.mean()


def fewest_values(targets: np.ndarray, fraction: float) -> np.ndarray:
  """Chooses the images that contain the fewest distinct values.

  Most images of CLEVR contain nearly every value, and teach little.

  Args:
    targets: [S, V] bool.
    fraction: Of the images to choose, at most 1; at least one is chosen. Of
      equals the earlier ones are.

  Returns:
    Their rows, ascending.
  """
  if not 0 < fraction <= 1:
    raise ValueError(f"the fraction of images is {fraction}, not within (0, 1]")
  count = max(1, round(fraction * len(targets)))
  order = np.argsort(targets.sum(1), kind="stable")
  return np.sort(order[:count])


def average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
  """Returns the mean, over what is true, of the precision down to its place.

  Args:
    scores: [S], the highest first in the ranking; equal ones share a place.
    targets: [S] bool, some of them true.
  """
  order = np.argsort(-scores, kind="stable")
  ranked, right = scores[order], np.cumsum(targets[order])
  last = np.flatnonzero(np.diff(ranked, append=np.nan) != 0)  # of equal ones
  gained = np.diff(right[last], prepend=0)
  return float((gained * right[last] / (last + 1)).sum() / right[-1])


def score(
  logits: np.ndarray, targets: np.ndarray, train_targets: np.ndarray
) -> dict:
  """Counts what is right, and what would be right without looking.

  Returns:
    `accuracy` over all values and `all_right`, the share of images with no
    value wrong; `majority_accuracy` and `majority_all_right`, where every value
    is said to be there or not as most training images have it; `values`: the
    two accuracies by value. `mean_average_precision`, over the values that some
    image has, and `chance_average_precision`, about what any order gives: the
    share of images that have a value.
  """
  right = (logits > 0) == targets
  majority = (train_targets.mean(0) > 0.5) == targets
  there = np.flatnonzero(targets.any(0))
  precisions = [average_precision(logits[:, i], targets[:, i]) for i in there]
  return {
    "accuracy": float(right.mean()),
    "all_right": float(right.all(1).mean()),
    "majority_accuracy": float(majority.mean()),
    "majority_all_right": float(majority.all(1).mean()),
    "mean_average_precision": float(np.mean(precisions)),
    "chance_average_precision": float(targets[:, there].mean()),
    "values": {
      value: (float(right[:, i].mean()), float(majority[:, i].mean()))
      for i, value in enumerate(VALUES)
    },
  }
