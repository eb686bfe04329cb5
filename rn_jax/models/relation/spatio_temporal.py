"""Spatial-temporal relations: which detection continues which track.

After secondary descriptions of "Spatial-Temporal Relation Networks for
Multi-Object Tracking" (Xu et al., ICCV 2019): neither the paper's text nor any
code of the authors was at hand. So the inputs of the pair's score, the widths
and the number of frames are [M], from memory or ours, and published scores are
no yardstick.

In each frame an object relation with one branch adds what surrounds an object
to its features. A track's features are a weighted mean over its frames. A pair
of track and detection is scored by both features, their cosine, and where the
detection lies from the track's last box (location) and from the box where the
track is expected (motion). The assignment itself is not learned.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from rn_jax.models.relation.geometry import embed_geometry, relative_geometry
from rn_jax.models.relation.object_relation import (
  ObjectRelation,
  relation_weights,
)
from rn_jax.models.scene import Scene, present_boxes, present_objects


class TemporalAggregation(nn.Module):
  """Mean of a track's features over its frames, by learned weights.

  The weights start equal. Sows them into "intermediates" as "weights", [S, T].
  """

  @nn.compact
  def __call__(
    self, states: Float[Array, "S T F"], mask: Bool[Array, "S T"] | None
  ) -> Float[Array, "S F"]:
    """Aggregates S tracks.

    Args:
      states: Of T frames.
      mask: Frames in which the track was seen; None: all.

    Returns:
      float32; zeros for a track that was never seen.
    """
    states = present_objects(states, mask).astype(jnp.float32)
    direction = self.param(
      "direction", nn.initializers.zeros, states.shape[-1:]
    )
    logits = (states @ direction)[:, None, None]  # [S, 1, 1, T]
    weights = relation_weights(logits, None, mask)[:, 0, 0]
    self.sow("intermediates", "weights", weights)
    return jnp.einsum("st,stf->sf", weights, states)


class PairSimilarity(nn.Module):
  """Scores every pair of a track and a detection.

  Attributes:
    width: Of the projections and of the hidden layers.
    geometry: "log_abs" or "signed", see geometry.py.
    dtype: Type of the products; geometry and cosine are in float32.
  """

  width: int = 64
  geometry: str = "log_abs"
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    tracks: Float[Array, "S K F"],
    detections: Float[Array, "S N F"],
    last_boxes: Float[Array, "S K 4"],
    expected_boxes: Float[Array, "S K 4"],
    boxes: Float[Array, "S N 4"],
  ) -> Float[Array, "S K N"]:
    """Returns the logits of "is the same object", float32.

    Args:
      tracks: Features.
      detections: Features.
      last_boxes: Of the tracks.
      expected_boxes: Of the tracks, in the frame of the detections.
      boxes: Of the detections.
    """

    def dense(name, x, units=self.width, dtype=self.dtype):
      return nn.Dense(units, dtype=dtype, name=name)(x)

    of_track, of_detection = dense("track", tracks), dense("box", detections)
    cosine = jnp.einsum(
      "skf,snf->skn", _unit_length(of_track), _unit_length(of_detection)
    )
    # A layer on a pair's numbers one after another is a sum of layers on each.
    hidden = of_track[:, :, None] + of_detection[:, None]
    hidden += dense("cosine", cosine[..., None])
    for name, start in ("location", last_boxes), ("motion", expected_boxes):
      relative = relative_geometry(start, boxes, self.geometry)
      embedded = embed_geometry(relative)
      hidden += dense(name, embedded, dtype=jnp.float32).astype(hidden.dtype)
    hidden = nn.relu(dense("hidden", nn.relu(hidden)))
    return dense("score", hidden, 1)[..., 0].astype(jnp.float32)


class SpatioTemporalRelation(nn.Module):
  """Scores how well detections continue tracks.

  Attributes:
    key_width: Numbers of a query or key of the spatial relation.
    width: See PairSimilarity.
    geometry: "log_abs" or "signed", see geometry.py.
    dtype: Type of the products.
  """

  key_width: int = 64
  width: int = 64
  geometry: str = "log_abs"
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    tracks: Float[Array, "S K T F"],
    track_boxes: Float[Array, "S K T 4"],
    track_mask: Bool[Array, "S K T"],
    detections: Scene,
  ) -> Float[Array, "S K N"]:
    """Scores K tracks of T frames against N detections of the next frame.

    Args:
      tracks: Features of the tracks' boxes, the oldest frame first.
      track_boxes: Those boxes.
      track_mask: Where a track was seen.
      detections: Of the next frame, with the same features.

    Returns:
      Logits of "is the same object"; without meaning where a track was never
      seen or a detection is absent.

    Raises:
      ValueError: The detections' boxes are missing.
    """
    scenes, count, frames, features = tracks.shape
    spatial = ObjectRelation(
      1, self.key_width, self.geometry, dtype=self.dtype, name="spatial"
    )

    def by_frame(x):  # [S, K, T, ...] to [S * T, K, ...]
      return x.swapaxes(1, 2).reshape(scenes * frames, count, *x.shape[3:])

    past = spatial(
      Scene(by_frame(tracks), by_frame(track_mask), by_frame(track_boxes))
    )
    past = past.reshape(scenes, frames, count, features).swapaxes(1, 2)
    of_tracks = TemporalAggregation(name="temporal")(
      past.reshape(scenes * count, frames, features),
      track_mask.reshape(scenes * count, frames),
    ).reshape(scenes, count, features)
    of_detections = spatial(detections)
    seen = track_mask.reshape(scenes, -1)
    track_boxes = present_boxes(
      track_boxes.reshape(scenes, -1, 4), seen
    ).reshape(track_boxes.shape)
    last, expected = expected_boxes(track_boxes, track_mask)
    assert detections.boxes is not None  # the spatial relation has looked
    boxes = jnp.broadcast_to(detections.boxes, (*of_detections.shape[:2], 4))
    boxes = present_boxes(boxes, detections.mask)
    return PairSimilarity(
      self.width, self.geometry, self.dtype, name="similarity"
    )(of_tracks, of_detections.astype(jnp.float32), last, expected, boxes)


def expected_boxes(
  boxes: Float[Array, "*S T 4"], mask: Bool[Array, "*S T"]
) -> tuple[Float[Array, "*S 4"], Float[Array, "*S 4"]]:
  """Moves tracks on by a frame at the speed between their last two boxes.

  Args:
    boxes: The oldest frame first.
    mask: Frames in which a track was seen.

  Returns:
    The last box that was seen, and the one to expect in the frame after the
    T frames. Both are the same for a track seen once, and without meaning for
    one never seen.
  """
  frames = jnp.arange(mask.shape[-1])

  def newest(mask):
    index = jnp.where(mask, frames, -1).max(-1, keepdims=True)  # [*S, 1]
    at = jnp.maximum(index, 0)[..., None]
    return index, jnp.take_along_axis(boxes, at, -2)[..., 0, :]

  index, last = newest(mask)
  earlier, before = newest(mask & (frames < index))
  speed = (last - before) / jnp.maximum(index - earlier, 1)
  missed = mask.shape[-1] - index
  return last, jnp.where(earlier < 0, last, last + missed * speed)


def assign(
  scores: Float[np.ndarray, "K N"], least: float = -np.inf
) -> Int[np.ndarray, " K"]:
  """Gives each track at most one detection, such that the scores' sum is most.

  Args:
    scores: Of pairs of tracks and detections that there are.
    least: Pairs that score less are not assigned.

  Returns:
    The index of a detection for each track, -1 for none.
  """
  chosen = np.full(len(scores), -1)
  tracks, detections = linear_sum_assignment(scores, maximize=True)
  good = scores[tracks, detections] >= least
  chosen[tracks[good]] = detections[good]
  return chosen


def _unit_length(x):
  x = x.astype(jnp.float32)
  return x * (jnp.sum(x * x, -1, keepdims=True) + 1e-12) ** -0.5
