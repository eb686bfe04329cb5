"""Learned matching of tracks against overlap and the Hungarian algorithm.

  python examples/spatio_temporal.py

Objects that all look alike move at a steady speed and bounce off the picture's
edges, while the camera shakes: a frame moves all its boxes alike. Each track's
last frames are known; which box of the next frame continues it? What is
learned may use where others are (see rn_jax/models/relation/spatio_temporal.py)
and is trained on other scenes. All ways end in the Hungarian algorithm.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rn_jax.models.relation.duplicate_removal import pairwise_iou
from rn_jax.models.relation.spatio_temporal import (
  SpatioTemporalRelation,
  assign,
  expected_boxes,
)
from rn_jax.models.scene import Scene

_OBJECTS, _FRAMES = 6, 4  # of a scene at most, and known of each track
SHAKES = (0.0, 0.03, 0.06)  # in units of the picture


def scenes(
  rng: np.random.Generator, count: int, shake: float | None = None
) -> dict[str, jax.Array]:
  """Makes scenes.

  Args:
    rng: Of everything.
    count: Number of scenes.
    shake: Standard deviation of the camera's moves; None: up to the largest.
  """
  shape = count, _OBJECTS, 1, 2
  there = np.arange(_OBJECTS) < rng.integers(3, _OBJECTS + 1, (count, 1))
  time = np.arange(_FRAMES + 1)[:, None]
  path = rng.random(shape) + rng.normal(scale=0.04, size=shape) * time
  center = np.abs((path + 1) % 2 - 1)  # reflected at 0 and 1
  strength = shake
  if shake is None:
    strength = rng.uniform(0, max(SHAKES), (count, 1, 1, 1))
  center = center + strength * rng.normal(size=(count, 1, _FRAMES + 1, 2))
  half = rng.uniform(0.04, 0.06, (*shape[:3], 1)) * np.ones(2)
  half = half * np.exp(rng.normal(scale=0.05, size=center.shape))
  boxes = np.concatenate([center - half, center + half], -1)
  seen = there[..., None] & (rng.random((*there.shape, _FRAMES)) < 0.9)
  seen[..., -1] = there
  # The next frame comes in any order: entry j is of object order[j].
  order = rng.permuted(np.tile(np.arange(_OBJECTS), (count, 1)), axis=1)
  new = np.take_along_axis(boxes[:, :, -1], order[..., None], 1)
  return {
    "tracks": jnp.array(boxes[:, :, :-1], jnp.float32),
    "seen": jnp.array(seen),
    "boxes": jnp.array(new, jnp.float32),
    "mask": jnp.array(np.take_along_axis(there, order, 1)),
    "same": jnp.array(np.arange(_OBJECTS)[:, None] == order[:, None]),
  }


def train(updates: int, rng: np.random.Generator):
  """Trains on new scenes in every update; returns how to score scenes."""
  module = SpatioTemporalRelation(key_width=32, width=64, geometry="signed")

  def features(boxes):
    # Alike in looks: a constant, and where they are.
    return jnp.concatenate([4 * boxes - 2, jnp.ones_like(boxes)], -1)

  def inputs(batch):
    detections = Scene(features(batch["boxes"]), batch["mask"], batch["boxes"])
    tracks = batch["tracks"]
    return features(tracks), tracks, batch["seen"], detections

  def apply(params, batch):
    return module.apply({"params": params}, *inputs(batch))

  def loss(params, batch):
    # Of all detections, which continues the track?
    logits = jnp.where(batch["mask"][:, None], apply(params, batch), -1e9)
    errors = optax.softmax_cross_entropy(logits, batch["same"])
    weight = batch["seen"].any(-1)
    return (errors * weight).sum() / weight.sum()

  params = module.init(jax.random.key(0), *inputs(scenes(rng, 1)))["params"]
  optimizer = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adam(optax.cosine_decay_schedule(3e-3, updates)),
  )

  @jax.jit
  def update(params, state, batch):
    value, gradient = jax.value_and_grad(loss)(params, batch)
    change, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, change), state, value

  state, losses = optimizer.init(params), []
  for step in range(updates):
    params, state, value = update(params, state, scenes(rng, 64))
    losses.append(float(value))
    if (step + 1) % 200 == 0:
      print(f"update {step + 1}: loss {np.mean(losses[-200:]):.4f}", flush=True)
  return functools.partial(jax.jit(apply), params)


def accuracy(batch: dict, scores: jax.Array) -> float:
  """Returns the share of the tracks that get their own detection."""
  right = total = 0
  for s, row in enumerate(np.asarray(scores)):
    tracks = np.flatnonzero(np.any(batch["seen"][s], -1))
    detections = np.flatnonzero(batch["mask"][s])
    chosen = detections[assign(row[np.ix_(tracks, detections)])]
    right += int(np.sum(batch["same"][s, tracks, chosen]))
    total += len(tracks)
  return right / total


def overlap_then_distance(boxes: jax.Array, others: jax.Array) -> jax.Array:
  """Scores pairs by overlap, those without any by the centres' distance."""
  centers, other_centers = (
    (b[..., :2] + b[..., 2:]) / 2 for b in (boxes, others)
  )
  apart = centers[:, :, None] - other_centers[:, None]
  return pairwise_iou(boxes, others) - 1e-3 * jnp.linalg.norm(apart, axis=-1)


def compare(
  updates: int, seed: int, count: int = 200
) -> dict[str, list[float]]:
  """Returns the accuracy at each of SHAKES, each of `count` scenes."""
  rng = np.random.default_rng(seed)
  apply = train(updates, rng)
  rows = {"overlap": [], "overlap, steady speed": [], "learned": []}
  for shake in SHAKES:
    batch = scenes(rng, count, shake)
    last, expected = expected_boxes(batch["tracks"], batch["seen"])
    for name, scores in (
      ("overlap", overlap_then_distance(last, batch["boxes"])),
      (
        "overlap, steady speed",
        overlap_then_distance(expected, batch["boxes"]),
      ),
      ("learned", apply(batch)),
    ):
      rows[name].append(accuracy(batch, scores))
  return rows


def main():
  """Reads the command line and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--updates", type=int, default=800)
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args()
  rows = compare(options.updates, options.seed)
  print("Share of tracks matched rightly")
  print(f"{'shake of the camera':23}" + "".join(f"{s:7.2f}" for s in SHAKES))
  for name, values in rows.items():
    print(f"{name:23}" + "".join(f"{value:7.3f}" for value in values))


if __name__ == "__main__":
  main()
