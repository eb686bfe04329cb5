"""Spatial-temporal relations, against loops and in their special cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from relation_loops import embed, geometry_of_pair, random_boxes, softmax

from rn_jax.models.relation.object_relation import ObjectRelation
from rn_jax.models.relation.spatio_temporal import (
  PairSimilarity,
  SpatioTemporalRelation,
  TemporalAggregation,
  assign,
  expected_boxes,
)
from rn_jax.models.scene import Scene

SEEN = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], bool)


def shake(params, scale=0.3):
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda p: p + rng.normal(scale=scale, size=p.shape).astype(np.float32),
    params,
  )


def make_inputs():
  """Two scenes of four tracks over three frames, and five detections."""
  rng = np.random.default_rng(0)
  tracks = rng.normal(size=(2, 4, 3, 6)).astype(np.float32)
  boxes, mask = random_boxes(rng, 2, 4, 3), np.stack([SEEN, SEEN[::-1]])
  objects = rng.normal(size=(2, 5, 6)).astype(np.float32)
  present = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 1, 0]], bool)
  detections = Scene(
    *map(jnp.array, (objects, present, random_boxes(rng, 2, 5)))
  )
  return *map(jnp.array, (tracks, boxes, mask)), detections


def make(inputs):
  module = SpatioTemporalRelation(key_width=3, width=8)
  init = jax.jit(module.init)
  return module, shake(init(jax.random.key(0), *inputs)["params"])


def test_a_tracks_features_are_the_weighted_mean_of_its_frames():
  states = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
  direction = np.linspace(-1, 1, 5)
  weights = np.zeros((4, 3))
  for s in range(3):
    weights[s, SEEN[s]] = softmax(states[s, SEEN[s]] @ direction)
  out, sown = TemporalAggregation().apply(
    {"params": {"direction": jnp.array(direction, jnp.float32)}},
    jnp.where(SEEN[..., None], states, jnp.nan),
    jnp.array(SEEN),
    mutable="intermediates",
  )
  np.testing.assert_allclose(
    sown["intermediates"]["weights"][0], weights, atol=1e-6
  )
  expected = np.einsum("st,stf->sf", weights, states)  # the last: zeros
  np.testing.assert_allclose(out, expected, atol=1e-6)


def test_at_first_it_is_the_mean_and_of_one_frame_the_frame_itself():
  states = jnp.array(
    np.random.default_rng(0).normal(size=(4, 3, 5)), jnp.float32
  )
  module = TemporalAggregation()
  params = module.init(jax.random.key(0), states, None)
  np.testing.assert_allclose(
    module.apply(params, states, None), states.mean(1), atol=1e-6
  )
  some = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1], [1, 1, 0]], bool)
  expected = (states * some[..., None]).sum(1) / some.sum(1)[:, None]
  np.testing.assert_allclose(
    module.apply(params, states, jnp.array(some)), expected, atol=1e-6
  )
  one = states[:, :1]
  np.testing.assert_allclose(
    module.apply(shake(params), one, None), one[:, 0], atol=1e-6
  )


def test_tracks_go_on_at_the_speed_of_their_last_two_boxes():
  boxes = jnp.array(random_boxes(np.random.default_rng(0), 4, 3))
  last, expected = expected_boxes(boxes, jnp.array(SEEN))
  np.testing.assert_array_equal(last[:3], boxes[np.arange(3), [2, 2, 1]])
  np.testing.assert_allclose(
    expected[0], 2 * boxes[0, 2] - boxes[0, 1], atol=1e-6
  )
  np.testing.assert_allclose(
    expected[1], boxes[1, 2] + (boxes[1, 2] - boxes[1, 0]) / 2, atol=1e-6
  )
  np.testing.assert_array_equal(expected[2], boxes[2, 1])
  # Missed in the last frame: two frames on from where it was.
  gone = jnp.array([[True, True, False]])
  _, later = expected_boxes(boxes[:1], gone)
  np.testing.assert_allclose(
    later[0], boxes[0, 1] + 2 * (boxes[0, 1] - boxes[0, 0]), atol=1e-6
  )


def test_pairs_are_scored_as_the_loops_do():
  rng = np.random.default_rng(4)
  tracks, detections = rng.normal(size=(1, 3, 5)), rng.normal(size=(1, 4, 5))
  boxes = [random_boxes(rng, 1, n) for n in (3, 3, 4)]
  module = PairSimilarity(width=8)
  inputs = [jnp.array(x, jnp.float32) for x in (tracks, detections, *boxes)]
  params = shake(module.init(jax.random.key(0), *inputs)["params"])
  logits = module.apply({"params": params}, *inputs)
  p = jax.tree.map(lambda x: np.asarray(x, float), params)

  def layer(name, x):
    return x @ p[name]["kernel"] + p[name]["bias"]

  for k, n in np.ndindex(3, 4):
    a, b = layer("track", tracks[0, k]), layer("box", detections[0, n])
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    hidden = a + b + layer("cosine", np.array([cosine]))
    for name, start in zip(("location", "motion"), boxes, strict=False):
      pair = geometry_of_pair(start[0, k], boxes[2][0, n], "log_abs", "query")
      hidden = hidden + layer(name, embed(pair, 64))
    hidden = np.maximum(layer("hidden", np.maximum(hidden, 0)), 0)
    np.testing.assert_allclose(
      logits[0, k, n], layer("score", hidden)[0], atol=2e-2
    )


def test_the_whole_is_its_parts_one_after_the_other():
  tracks, boxes, mask, detections = inputs = make_inputs()
  module, params = make(inputs)
  logits = jax.jit(module.apply)({"params": params}, *inputs)
  assert logits.shape == (2, 4, 5)
  spatial = ObjectRelation(1, 3)

  @jax.jit
  def related(scene):
    return spatial.apply({"params": params["spatial"]}, scene)

  for s in range(2):
    frames = [
      related(Scene(*(x[s, :, t][None] for x in (tracks, mask, boxes))))[0]
      for t in range(3)
    ]
    of_tracks = TemporalAggregation().apply(
      {"params": params["temporal"]}, jnp.stack(frames, 1), mask[s]
    )
    one = Scene(*(x[s][None] for x in detections))
    expected = PairSimilarity(8).apply(
      {"params": params["similarity"]},
      of_tracks[None],
      related(one),
      *(x[None] for x in expected_boxes(boxes[s], mask[s])),
      one.boxes,
    )[0]
    there = np.ix_(np.any(mask[s], 1), np.asarray(one.mask[0]))
    np.testing.assert_allclose(logits[s][there], expected[there], atol=1e-4)


def test_absent_frames_and_detections_change_nothing():
  tracks, boxes, mask, detections = inputs = make_inputs()
  module, params = make(inputs)
  there = mask.any(-1)[:, :, None] & detections.mask[:, None]

  def value(params, tracks, boxes, objects, others):
    logits = module.apply(
      {"params": params},
      tracks,
      boxes,
      mask,
      Scene(objects, detections.mask, others),
    )
    return jnp.where(there, logits, 0.0).sum()

  gradient = jax.jit(jax.value_and_grad(value))
  arguments = tracks, boxes, detections.objects, detections.boxes
  expected = gradient(params, *arguments)
  masks = mask, mask, detections.mask, detections.mask
  spoiled = [
    jnp.where(m[..., None], x, jnp.nan)
    for x, m in zip(arguments, masks, strict=True)
  ]
  pairs = zip(
    *map(jax.tree.leaves, (expected, gradient(params, *spoiled))), strict=True
  )
  for a, b in pairs:
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_jit_and_vmap_change_nothing():
  inputs = make_inputs()
  module, params = make(inputs)

  def apply(*inputs):
    return module.apply({"params": params}, *inputs)

  expected = apply(*inputs)
  np.testing.assert_allclose(jax.jit(apply)(*inputs), expected, atol=1e-3)
  single = jax.tree.map(lambda x: x[:, None], inputs)
  np.testing.assert_allclose(
    jax.jit(jax.vmap(apply))(*single)[:, 0], expected, atol=1e-3
  )


def test_bfloat16_does_not_touch_geometry():
  inputs = make_inputs()
  module, params = make(inputs)
  (exact, seen), (half, seen_by_half) = (
    module.clone(dtype=dtype).apply(
      {"params": params}, *inputs, capture_intermediates=True, mutable=True
    )
    for dtype in (jnp.float32, jnp.bfloat16)
  )
  assert half.dtype == jnp.float32
  assert np.abs(half - exact).max() < 0.05 * np.abs(exact).max()
  for name in ("location", "motion"):
    found, expected = (
      x["intermediates"]["similarity"][name]["__call__"][0]
      for x in (seen_by_half, seen)
    )
    np.testing.assert_array_equal(found, expected)


def test_the_number_of_parameters():
  module = SpatioTemporalRelation(key_width=3, width=8)
  params = jax.eval_shape(module.init, jax.random.key(0), *make_inputs())
  spatial = (6 + 1) * 6 + 2 * (6 + 1) * 3 + (64 + 1)
  pairs = 2 * (6 + 1) * 8 + 2 * 8 + 2 * (64 + 1) * 8 + (8 + 1) * 8 + 8 + 1
  count = sum(p.size for p in jax.tree.leaves(params))
  assert count == spatial + 6 + pairs


def test_the_order_of_tracks_and_detections_does_not_matter():
  tracks, boxes, mask, detections = inputs = make_inputs()
  module, params = make(inputs)
  logits = module.apply({"params": params}, *inputs)
  rows, columns = np.array([2, 0, 3, 1]), np.array([4, 1, 0, 3, 2])
  shuffled = module.apply(
    {"params": params},
    *(x[:, rows] for x in (tracks, boxes, mask)),
    Scene(*(x[:, columns] for x in detections)),
  )
  np.testing.assert_allclose(shuffled, logits[:, rows][..., columns], atol=1e-4)


@pytest.mark.parametrize("least", [-np.inf, 0.0])
def test_detections_are_given_out_for_the_best_sum(least):
  scores = np.array([[5.0, 4.0, -9.0], [4.5, 0.0, -9.0], [-1.0, -9.0, -3.0]])
  # Row by row the first would take column 0: 5 + 0, less than 4 + 4.5.
  expected = [1, 0, 2] if least < 0 else [1, 0, -1]
  np.testing.assert_array_equal(assign(scores, least), expected)
  assert assign(np.zeros((2, 0))).tolist() == [-1, -1]
