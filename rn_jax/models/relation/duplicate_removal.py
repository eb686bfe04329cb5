"""Learned removal of duplicate detections, in place of suppression by rule.

"Relation Networks for Object Detection" (Hu et al., CVPR 2018), after the
authors' code; the paper's text was not at hand. A detector gives many boxes for
one object. An object relation sees all boxes of a class with their ranks by
score, and says of each box how likely it is the one to keep: as many times as
there are thresholds of overlap from which on a box counts as found.

The class is that of a row: lay a picture's classes out as rows of their own,
with the same features. To detect, take the mean of the scores over thresholds.
The authors drop boxes whose class scores below 0.01 before; a caller may, too.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from rn_jax.models.relation.geometry import wave_angles
from rn_jax.models.relation.object_relation import ObjectRelation
from rn_jax.models.scene import Scene, present_objects

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)

_RANK_WIDTH = 1024
_TINY = 1e-8  # keeps the loss finite


class DuplicateRemoval(nn.Module):
  """Scores boxes anew such that duplicates score low.

  Attributes:
    first_n: Boxes of a row that are looked at, those that score best.
    num_thresholds: Scores of each box.
    width: Features of a box inside the module; num_relations divides it.
    num_relations: See ObjectRelation, as for the next three.
    key_width: See above.
    geometry: See above.
    kernel_init: Of all kernels; normal(0.01) is the authors'.
    dtype: Type of the products; scores are in float32.
  """

  first_n: int = 100
  num_thresholds: int = len(THRESHOLDS)
  width: int = 128
  num_relations: int = 16
  key_width: int = 64
  geometry: str | None = "log_abs"
  kernel_init: Callable = nn.initializers.lecun_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, scene: Scene, scores: Float[Array, "S N"]
  ) -> tuple[Float[Array, "S N thresholds"], Bool[Array, "S N"]]:
    """Scores the boxes of each row.

    Args:
      scene: The boxes of one class in a row, with the detector's features. No
        gradient goes to the boxes.
      scores: The detector's, probabilities.

    Returns:
      The scores times the probability to be the one to keep, float32, 0 for
      boxes not looked at; which boxes were looked at.

    Raises:
      ValueError: The boxes are missing.
    """
    if scene.boxes is None:
      raise ValueError("duplicate removal needs the boxes of the objects")
    kept = min(self.first_n, scores.shape[1])
    mask = jnp.ones(scores.shape, bool) if scene.mask is None else scene.mask
    scores = jnp.where(mask, scores, 0.0)
    # Absent boxes come behind all others.
    _, order = jax.lax.top_k(jnp.where(mask, scores, -1.0), kept)  # [S, kept]
    present = _rows(mask, order)

    def dense(units, name, **settings):
      return nn.Dense(
        units,
        kernel_init=self.kernel_init,
        dtype=self.dtype,
        name=name,
        **settings,
      )

    features = present_objects(_rows(scene.objects, order), present)
    ranks = rank_embedding(kept, _RANK_WIDTH)
    boxes = jnp.broadcast_to(scene.boxes, (*scores.shape, 4))
    ranked = Scene(
      dense(self.width, "features")(features)
      + dense(self.width, "rank")(ranks).astype(self.dtype),
      present,
      jax.lax.stop_gradient(_rows(boxes, order)),
    )
    related = ObjectRelation(
      self.num_relations,
      self.key_width,
      self.geometry,
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="relation",
    )(ranked)
    # At first few boxes are to be kept, as is right for most of them.
    logits = dense(
      self.num_thresholds, "keep", bias_init=nn.initializers.constant(-3.0)
    )(nn.relu(related))
    keep = nn.sigmoid(logits.astype(jnp.float32))
    new = _rows(scores, order)[..., None] * keep
    # Back to where the boxes stood.
    row = jnp.arange(len(scores))[:, None]
    shape = (*scores.shape, self.num_thresholds)
    considered = jnp.zeros(scores.shape, bool).at[row, order].set(present)
    return jnp.zeros(shape, jnp.float32).at[row, order].set(new), considered


def rank_embedding(count: int, width: int) -> Float[Array, "count width"]:
  """Embeds ranks from 0: width / 2 sines, then as many cosines."""
  angles = wave_angles(jnp.arange(count, dtype=jnp.float32), width // 2)
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)


def duplicate_targets(
  boxes: Float[Array, "S N 4"],
  scores: Float[Array, "S N"],
  mask: Bool[Array, "S N"],
  truth: Float[Array, "S G 4"],
  truth_mask: Bool[Array, "S G"],
  thresholds: Sequence[float] = THRESHOLDS,
) -> Bool[Array, "S N thresholds"]:
  """Says which boxes to keep.

  Each box belongs to the true box that it overlaps most, the first of equals.
  Of those that overlap theirs by more than a threshold, the one that scores
  best is kept.

  Args:
    boxes: Of one class in each row.
    scores: The detector's.
    mask: Boxes to choose from: those that DuplicateRemoval looked at.
    truth: True boxes of the class, at least one column of them.
    truth_mask: Which there are.
    thresholds: Of the intersection over union.
  """
  overlap = pairwise_iou(boxes, truth)
  overlap = jnp.where(truth_mask[:, None], overlap, -1.0)  # [S, N, G]
  count = boxes.shape[1]
  owner = jax.nn.one_hot(overlap.argmax(-1), truth.shape[1], dtype=bool)
  found = overlap[..., None] > jnp.array(thresholds)  # [S, N, G, T]
  chosen = found & (owner & mask[..., None])[..., None]
  ranked = jnp.where(chosen, scores[..., None, None], -jnp.inf)
  best = jax.nn.one_hot(ranked.argmax(1), count, axis=1, dtype=bool)
  return (chosen & best).any(2)


def duplicate_loss(
  scores: Float[Array, "S N thresholds"],
  targets: Bool[Array, "S N thresholds"],
  considered: Bool[Array, "S N"],
  *,
  first_n: int = 100,
  positive_weight: float = 4.0,
) -> Float[Array, ""]:
  """Returns the cross-entropy of the scores, the mean of the rows.

  Args:
    scores: From DuplicateRemoval.
    targets: From duplicate_targets.
    considered: From DuplicateRemoval; others count nothing.
    first_n: A row's sum is divided by this and the number of thresholds.
    positive_weight: Of the boxes to keep, which are few.
  """
  # Logarithms of zero stay out of the sum, and out of its gradient.
  scores = jnp.where(considered[..., None], scores, 0.5)
  loss = -jnp.where(
    targets,
    positive_weight * jnp.log(scores + _TINY),
    jnp.log(1 - scores + _TINY),
  )
  loss = jnp.where(considered[..., None], loss, 0.0)
  return loss.sum() / (len(scores) * first_n * scores.shape[-1])


def pairwise_iou(
  a: Float[Array, "*S N 4"], b: Float[Array, "*S M 4"]
) -> Float[Array, "*S N M"]:
  """Intersection over union of boxes; edges are numbers, not pixels."""

  def area(edges):
    extent = jnp.maximum(edges[..., 2:] - edges[..., :2], 0.0)
    return extent[..., 0] * extent[..., 1]

  a, b = a[..., :, None, :], b[..., None, :, :]
  common = area(
    jnp.concatenate(
      [
        jnp.maximum(a[..., :2], b[..., :2]),
        jnp.minimum(a[..., 2:], b[..., 2:]),
      ],
      -1,
    )
  )
  return common / jnp.maximum(area(a) + area(b) - common, 1e-12)


def _rows(x, order):
  """Takes rows [S, kept] of x [S, N, ...]."""
  order = order.reshape(order.shape + (1,) * (x.ndim - 2))
  return jnp.take_along_axis(x, order, 1)
