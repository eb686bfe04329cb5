"""Learned duplicate removal against suppression by a threshold of overlap.

  python examples/duplicate_removal.py

Synthetic detections of one class: crowds of objects that may cover each other,
each detected several times, with scores that grow with the overlap but are
noisy, and false boxes. Each box comes with noisy looks of its object, as a
detector's features are. The learned removal is trained on other pictures of
the kind. Suppression and the least score of both are tuned on pictures for
that purpose; the table is of pictures that neither has seen.

So short a training improves on the bare scores, but tuned suppression stays
ahead at all overlaps but the strictest.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rn_jax.models.relation.duplicate_removal import (
  THRESHOLDS,
  DuplicateRemoval,
  duplicate_loss,
  duplicate_targets,
  pairwise_iou,
)
from rn_jax.models.scene import Scene

_OBJECTS, _COPIES, _FALSE = 4, 4, 4  # of each picture, at most
_BOXES = _OBJECTS * _COPIES + _FALSE
_LOOKS = 8


def pictures(rng: np.random.Generator, count: int) -> dict[str, jax.Array]:
  """Makes pictures of boxes, true boxes, scores and features."""
  shape = count, _OBJECTS
  truth_mask = np.arange(_OBJECTS) < rng.integers(2, _OBJECTS + 1, (count, 1))
  center = rng.uniform(0.38, 0.62, (*shape, 2))
  half = rng.uniform(0.08, 0.16, (*shape, 2))
  looks = rng.normal(size=(*shape, _LOOKS))

  copies = (count, _OBJECTS, _COPIES)
  spread = rng.uniform(0.02, 0.25, (*copies, 1))  # some hit better than others
  moved = rng.normal(size=(*copies, 2)) * spread * half[:, :, None]
  grown = np.exp(rng.normal(size=(*copies, 2)) * spread)
  of_center = (center[:, :, None] + moved).reshape(count, -1, 2)
  of_half = (half[:, :, None] * grown).reshape(count, -1, 2)
  of_looks = np.repeat(looks, _COPIES, 1)
  mask = np.repeat(truth_mask, _COPIES, 1) & (
    rng.random((count, _OBJECTS * _COPIES)) < 0.8
  )
  false = (count, _FALSE)
  of_center = np.append(of_center, rng.uniform(0.2, 0.8, (*false, 2)), 1)
  of_half = np.append(of_half, rng.uniform(0.06, 0.2, (*false, 2)), 1)
  of_looks = np.append(of_looks, rng.normal(size=(*false, _LOOKS)), 1)
  mask = np.append(mask, rng.random(false) < 0.5, 1)
  of_looks = of_looks + rng.normal(scale=0.5, size=of_looks.shape)

  boxes = np.concatenate([of_center - of_half, of_center + of_half], -1)
  truth = np.concatenate([center - half, center + half], -1)
  overlap = np.where(
    truth_mask[:, None], pairwise_iou(jnp.array(boxes), jnp.array(truth)), 0
  ).max(-1)
  logit = 6 * (overlap - 0.6) + rng.normal(scale=0.8, size=overlap.shape)
  scores = 1 / (1 + np.exp(-logit))
  features = np.append(of_looks, scores[..., None], -1)
  made = {
    "boxes": boxes,
    "scores": scores,
    "features": features,
    "truth": truth,
  }
  masks = {"mask": mask, "truth_mask": truth_mask}
  return {k: jnp.array(v, jnp.float32) for k, v in made.items()} | {
    k: jnp.array(v) for k, v in masks.items()
  }


def train(module: DuplicateRemoval, updates: int, rng: np.random.Generator):
  """Trains on new pictures in every update; returns how to score pictures."""
  batch = pictures(rng, 32)

  def apply(params, batch):
    scene = Scene(batch["features"], batch["mask"], batch["boxes"])
    return module.apply({"params": params}, scene, batch["scores"])

  def loss(params, batch):
    new, considered = apply(params, batch)
    targets = duplicate_targets(
      batch["boxes"],
      batch["scores"],
      considered,
      batch["truth"],
      batch["truth_mask"],
    )
    return duplicate_loss(new, targets, considered, first_n=_BOXES)

  scene = Scene(batch["features"], batch["mask"], batch["boxes"])
  params = module.init(jax.random.key(0), scene, batch["scores"])["params"]
  optimizer = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adam(optax.cosine_decay_schedule(2e-3, updates)),
  )

  @jax.jit
  def update(params, state, batch):
    value, gradient = jax.value_and_grad(loss)(params, batch)
    change, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, change), state, value

  state, losses = optimizer.init(params), []
  for step in range(updates):
    params, state, value = update(params, state, pictures(rng, 32))
    losses.append(float(value))
    if (step + 1) % 200 == 0:
      print(f"update {step + 1}: loss {np.mean(losses[-200:]):.4f}", flush=True)
  return functools.partial(jax.jit(apply), params)


def suppress(batch: dict, threshold: float) -> np.ndarray:
  """Greedy non-maximum suppression; the scores of removed boxes are 0."""
  overlap = np.asarray(pairwise_iou(batch["boxes"], batch["boxes"]))
  scores = np.where(batch["mask"], batch["scores"], 0.0)
  kept = np.zeros_like(scores)
  for s, row in enumerate(scores):
    left = row.copy()
    while left.any():
      best = left.argmax()
      kept[s, best] = row[best]
      left[overlap[s, best] > threshold] = 0.0
      left[best] = 0.0
  return kept


def f1(batch: dict, scores: np.ndarray, least: float, iou: float) -> float:
  """F1 of the boxes from a score on, each true box found once at most."""
  overlap = np.asarray(pairwise_iou(batch["boxes"], batch["truth"]))
  overlap = np.where(batch["truth_mask"][:, None], overlap, -1.0)
  found = given = 0
  for s, row in enumerate(scores):
    free = overlap[s].copy()
    for box in np.argsort(-row):
      if row[box] < least or row[box] <= 0:
        break
      given += 1
      true = free[box].argmax()
      if free[box, true] >= iou:
        found += 1
        free[:, true] = -1.0
  return 2 * found / (given + int(batch["truth_mask"].sum()))


def best_least(batch: dict, scores: np.ndarray) -> tuple[float, float]:
  """Returns the best mean F1 over THRESHOLDS, and from which score on."""
  return max(
    (float(np.mean([f1(batch, scores, least, t) for t in THRESHOLDS])), least)
    for least in np.arange(0.05, 1, 0.05)
  )


def compare(
  updates: int, seed: int, count: int = 200
) -> dict[str, list[float]]:
  """Returns the F1 at each of THRESHOLDS of both ways, on `count` pictures."""
  rng = np.random.default_rng(seed)
  module = DuplicateRemoval(
    first_n=_BOXES, width=64, num_relations=8, key_width=16
  )
  apply = train(module, updates, rng)
  tuning, test = pictures(rng, count), pictures(rng, count)

  def learned(batch):
    return np.asarray(apply(batch)[0]).mean(-1)

  (_, least), threshold = max(
    (best_least(tuning, suppress(tuning, t)), t)
    for t in np.arange(0.3, 0.9, 0.1)
  )
  _, least_learned = best_least(tuning, learned(tuning))
  print(
    f"Tuned: suppression above an overlap of {threshold:.1f}, least score "
    f"{least:.2f}; learned removal, least score {least_learned:.2f}"
  )
  ways = {
    "no removal": (np.where(test["mask"], test["scores"], 0.0), least),
    "suppression": (suppress(test, threshold), least),
    "learned": (learned(test), least_learned),
  }
  return {
    name: [f1(test, scores, bound, t) for t in THRESHOLDS]
    for name, (scores, bound) in ways.items()
  }


def main():
  """Reads the command line and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--updates", type=int, default=1200)
  parser.add_argument("--seed", type=int, default=0)
  options = parser.parse_args()
  rows = compare(options.updates, options.seed)
  print("F1 at an overlap of  " + "".join(f"{t:7.1f}" for t in THRESHOLDS))
  for name, values in rows.items():
    print(f"{name:21}" + "".join(f"{value:7.3f}" for value in values))


if __name__ == "__main__":
  main()
