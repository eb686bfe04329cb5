"""Learned duplicate removal, against loops and by what must hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from relation_loops import object_relation, random_boxes

from rn_jax.models.relation.duplicate_removal import (
  THRESHOLDS,
  DuplicateRemoval,
  duplicate_loss,
  duplicate_targets,
  pairwise_iou,
  rank_embedding,
)
from rn_jax.models.relation.object_relation import ObjectRelation
from rn_jax.models.scene import Scene

MASK = np.arange(7) < np.array([[7], [4]])
SETTINGS = {"first_n": 5, "width": 8, "num_relations": 2, "key_width": 3}


def make_inputs():
  rng = np.random.default_rng(0)
  objects = rng.normal(size=(2, 7, 6)).astype(np.float32)
  scores = rng.uniform(0.1, 0.9, (2, 7)).astype(np.float32)
  boxes = random_boxes(rng, 2, 7)
  scene = Scene(*map(jnp.array, (objects, MASK, boxes)))
  return scene, jnp.array(scores)


def make(scene, scores, scale=0.3):
  module = DuplicateRemoval(**SETTINGS)
  params = jax.jit(module.init)(jax.random.key(0), scene, scores)["params"]
  rng = np.random.default_rng(1)
  return module, jax.tree.map(
    lambda p: p + rng.normal(scale=scale, size=p.shape).astype(np.float32),
    params,
  )


def iou(a, b):
  width = min(a[2], b[2]) - max(a[0], b[0])
  height = min(a[3], b[3]) - max(a[1], b[1])
  common = max(width, 0) * max(height, 0)
  areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
  return common / (sum(areas) - common)


def test_it_computes_what_the_loops_do():
  scene, scores = make_inputs()
  module, params = make(scene, scores)
  new, considered = jax.jit(module.apply)({"params": params}, scene, scores)
  p = jax.tree.map(lambda x: np.asarray(x, float), params)
  relation = ObjectRelation(2, 3)
  for s in range(2):
    present = [n for n in range(7) if MASK[s, n]]
    order = sorted(present, key=lambda n: -scores[s, n])[:5]
    assert sorted(order) == np.flatnonzero(considered[s]).tolist()
    f = []
    for rank, n in enumerate(order):
      angles = [rank / 1000 ** (i / 512) for i in range(512)]
      embedded = np.concatenate([np.sin(angles), np.cos(angles)])
      x = np.asarray(scene.objects[s, n], float) @ p["features"]["kernel"]
      x = x + p["features"]["bias"] + p["rank"]["bias"]
      f.append(x + embedded @ p["rank"]["kernel"])
    ranked = Scene(
      np.array(f), np.ones(len(f), bool), np.asarray(scene.boxes[s])[order]
    )
    related, _ = object_relation(params["relation"], ranked, ranked, relation)
    logits = np.maximum(related, 0) @ p["keep"]["kernel"] + p["keep"]["bias"]
    expected = np.zeros((7, 5))
    for i, n in enumerate(order):
      expected[n] = float(scores[s, n]) / (1 + np.exp(-logits[i]))
    np.testing.assert_allclose(new[s], expected, atol=2e-3)


def test_jit_and_vmap_change_nothing():
  scene, scores = make_inputs()
  module, params = make(scene, scores)

  def apply(scene, scores):
    return module.apply({"params": params}, scene, scores)

  expected, looked_at = apply(scene, scores)
  single = jax.tree.map(lambda x: x[:, None], (scene, scores))
  for found in (
    jax.jit(apply)(scene, scores),
    jax.tree.map(lambda x: x[:, 0], jax.jit(jax.vmap(apply))(*single)),
  ):
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    np.testing.assert_array_equal(found[1], looked_at)


def test_bfloat16_chooses_the_same_boxes():
  scene, scores = make_inputs()
  # 0.5 and what is a little more are one number in bfloat16.
  scores = 0.5 + scores / 1000
  module, params = make(scene, scores, scale=0.1)
  exact, half = (
    module.clone(dtype=dtype).apply({"params": params}, scene, scores)
    for dtype in (jnp.float32, jnp.bfloat16)
  )
  assert half[0].dtype == jnp.float32
  np.testing.assert_array_equal(half[1], exact[1])
  np.testing.assert_allclose(half[0], exact[0], atol=0.02)


def test_the_number_of_parameters():
  scene, scores = make_inputs()
  module = DuplicateRemoval()
  params = jax.eval_shape(module.init, jax.random.key(0), scene, scores)
  count = sum(p.size for p in jax.tree.leaves(params))
  projections = (128 + 1) * 128 + 2 * (128 + 1) * 16 * 64 + 16 * (64 + 1)
  assert count == (6 + 1) * 128 + (1024 + 1) * 128 + projections + 129 * 5


def test_at_first_little_is_kept():
  scene, scores = make_inputs()
  module = DuplicateRemoval(**SETTINGS, kernel_init=jax.nn.initializers.zeros)
  params = jax.jit(module.init)(jax.random.key(0), scene, scores)["params"]
  new, considered = jax.jit(module.apply)({"params": params}, scene, scores)
  kept = np.asarray(considered)
  expected = np.asarray(scores)[kept] / (1 + np.exp(3))  # 0.047 of the scores
  np.testing.assert_allclose(new[kept], expected[:, None].repeat(5, 1), 1e-5)


def test_the_order_of_boxes_does_not_matter():
  scene, scores = make_inputs()
  module, params = make(scene, scores)
  order = np.array([3, 0, 6, 4, 1, 5, 2])
  shuffled = Scene(*(x[:, order] for x in scene))
  new, _ = jax.jit(module.apply)({"params": params}, scene, scores)
  other, _ = jax.jit(module.apply)(
    {"params": params}, shuffled, scores[:, order]
  )
  np.testing.assert_allclose(other, new[:, order], atol=1e-5)


def test_the_gradient_reaches_scores_and_features_but_not_boxes():
  scene, scores = make_inputs()
  module, params = make(scene, scores)

  def value(scores, objects, boxes):
    new, _ = module.apply(
      {"params": params}, Scene(objects, scene.mask, boxes), scores
    )
    return (new**2).sum()

  absent = ~scene.mask
  gradients = jax.grad(value, (0, 1, 2))(
    jnp.where(absent, jnp.nan, scores),
    jnp.where(absent[..., None], jnp.nan, scene.objects),
    jnp.where(absent[..., None], jnp.nan, scene.boxes),
  )
  _, considered = jax.jit(module.apply)({"params": params}, scene, scores)
  np.testing.assert_array_equal(gradients[0] != 0, considered)
  np.testing.assert_array_equal(np.any(gradients[1], -1), considered)
  assert not np.any(gradients[2])


def test_targets_are_those_of_the_loops():
  rng = np.random.default_rng(3)
  truth = random_boxes(rng, 20, 4)
  truth_mask = np.arange(4) < rng.integers(0, 5, (20, 1))
  of = rng.integers(0, 4, (20, 12, 1))
  boxes = np.take_along_axis(truth, of, 1)
  boxes += rng.normal(scale=0.02, size=boxes.shape).astype(np.float32)
  scores = rng.permuted(np.linspace(0, 1, 240)).reshape(20, 12)
  scores = scores.astype(np.float32)
  mask = rng.random((20, 12)) < 0.8
  targets = duplicate_targets(
    *map(jnp.array, (boxes, scores, mask, truth, truth_mask))
  )
  expected = np.zeros((20, 12, 5), bool)
  for s in range(20):
    known = np.flatnonzero(truth_mask[s])
    best = {}
    for n in np.flatnonzero(mask[s]):
      overlaps = [iou(boxes[s, n], truth[s, g]) for g in known]
      if not overlaps:
        continue
      owner = int(np.argmax(overlaps))
      for t, threshold in enumerate(THRESHOLDS):
        if overlaps[owner] > threshold:
          rival = best.setdefault((owner, t), n)
          if scores[s, n] > scores[s, rival]:
            best[owner, t] = n
    for (_, t), n in best.items():
      expected[s, n, t] = True
  np.testing.assert_array_equal(targets, expected)
  # The data ask something: several kept, fewer at higher thresholds.
  counts = expected.sum((0, 1))
  assert counts[0] > counts[-1] > 0
  assert np.all(expected.sum(1) <= truth_mask.sum(1, keepdims=True))


def test_the_loss_is_the_weighted_cross_entropy():
  scores = jnp.array([[[0.5, 0.2], [0.0, 0.0]], [[1.0, 0.0], [0.3, 0.4]]])
  targets = jnp.array([[[1, 0], [0, 0]], [[1, 0], [0, 1]]], bool)
  considered = jnp.array([[True, False], [True, True]])

  def loss(scores):
    return duplicate_loss(scores, targets, considered, first_n=2)

  rows = [
    4 * np.log(0.5) + np.log(0.8),
    4 * np.log(1.0) + np.log(1.0) + np.log(0.7) + 4 * np.log(0.4),
  ]
  value, gradient = jax.value_and_grad(loss)(scores)
  np.testing.assert_allclose(value, -np.mean(rows) / (2 * 2), rtol=1e-5)
  assert np.isfinite(gradient).all()
  assert not np.any(gradient[0, 1])


def test_ranks_and_overlaps():
  embedded = rank_embedding(100, 16)
  angles = np.arange(100)[:, None] / 1000 ** (np.arange(8) / 8)
  np.testing.assert_allclose(embedded[:, :8], np.sin(angles), atol=1e-5)
  np.testing.assert_allclose(embedded[:, 8:], np.cos(angles), atol=1e-5)
  boxes = random_boxes(np.random.default_rng(2), 6)
  expected = [[iou(a, b) for b in boxes] for a in boxes.astype(float)]
  boxes = jnp.array(boxes)
  np.testing.assert_allclose(pairwise_iou(boxes, boxes), expected, atol=1e-5)
  assert pairwise_iou(jnp.zeros((1, 4)), jnp.zeros((1, 4))) == 0


def test_boxes_are_needed():
  scene, scores = make_inputs()
  with pytest.raises(ValueError, match="needs the boxes"):
    make(scene._replace(boxes=None), scores)
