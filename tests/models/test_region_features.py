"""Learned features of boxes against loops, and RoIAlign as their limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.ndimage import map_coordinates

from rn_jax.models.region_features import (
  RegionFeatures,
  aligned_weights,
  embed_coordinates,
  pool_regions,
  region_weights,
)

FIELDS = {"bins": 3, "embedding": 8, "geometry": 4}


def pool_by_hand(x, boxes, mask, params, scale):
  """One box, one bin, one cell at a time, in float64."""
  params = jax.tree.map(np.float64, params)
  b, h, w, c = x.shape
  e, bins, g = FIELDS["embedding"], FIELDS["bins"], FIELDS["geometry"]

  def embed(numbers):
    result = []
    for z in numbers:
      for i in range(e // 2):
        angle = scale * float(z) / 1000 ** (2 * i / e)
        result += [np.sin(angle), np.cos(angle)]
    return np.array(result)

  result = np.zeros((b, boxes.shape[1], bins, c))
  for n, r, k in np.ndindex(*result.shape[:3]):
    box = embed(boxes[n, r]) @ params["boxes_shared"]["kernel"]
    box = box @ params["boxes_per_bin"]["kernel"][:, k * g : (k + 1) * g]
    weights, total = 0.0, np.zeros(c)
    for row, column in np.ndindex(h, w):
      if mask[n, r, row, column]:
        cell = np.float64(x[n, row, column])
        place = embed([column, row]) @ params["places"]["kernel"]
        weight = np.exp(
          box @ place + cell @ params["appearance"]["kernel"][:, k]
        )
        weights += weight
        total += weight * cell
    result[n, r, k] = total / max(weights, 1e-30)
  return result


def random_params(x, boxes):
  """Returns parameters of which none is zero."""
  shapes = jax.eval_shape(
    RegionFeatures(**FIELDS).init, jax.random.key(0), x, boxes
  )["params"]
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda s: jnp.asarray(0.4 * rng.normal(size=s.shape), jnp.float32), shapes
  )


def make_inputs():
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(2, 4, 5, 6)), jnp.float32)
  centres = rng.uniform(1.0, 2.0, (2, 3, 2))
  boxes = np.concatenate([centres, rng.uniform(0.5, 2.0, (2, 3, 2))], -1)
  return x, jnp.asarray(boxes, jnp.float32)


@pytest.mark.parametrize("masked", ["nothing", "cells", "boxes", "both"])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_boxes_gather_what_a_loop_gathers(masked, scale):
  x, boxes = make_inputs()
  params = random_params(x, boxes)
  mask, shape = None, (2, 3, 4, 5)
  if masked != "nothing":
    sizes = {"cells": (2, 1, 4, 5), "boxes": (2, 3, 1, 1), "both": shape}
    mask = np.random.default_rng(2).random(sizes[masked]) < 0.6
    mask[0, 0, 0, 0], mask[-1, -1] = True, masked == "cells"
  y, state = RegionFeatures(**FIELDS, coordinate_scale=scale).apply(
    {"params": params},
    x,
    boxes,
    None if mask is None else jnp.array(mask),
    mutable=["intermediates"],
  )
  everywhere = np.broadcast_to(True if mask is None else mask, shape)
  np.testing.assert_allclose(
    y,
    pool_by_hand(x, boxes, everywhere, params, scale),
    rtol=1e-4,
    atol=1e-5,
  )
  weights = state["intermediates"]["attention"][0]
  np.testing.assert_allclose(
    weights.sum((-2, -1)),
    np.broadcast_to(everywhere.any((-2, -1))[..., None], (2, 3, 3)),
    rtol=1e-5,
  )
  outside = np.broadcast_to(~everywhere[:, :, None], weights.shape)
  assert (weights[outside] == 0).all()


def test_weights_of_zeros_average():
  x, boxes = make_inputs()
  zeros = jax.tree.map(jnp.zeros_like, random_params(x, boxes))
  y = RegionFeatures(**FIELDS).apply({"params": zeros}, x, boxes)
  mean = np.broadcast_to(x.mean((1, 2))[:, None, None], y.shape)
  np.testing.assert_allclose(y, mean, rtol=1e-5, atol=1e-6)


def test_all_parameters_learn_and_absent_boxes_give_nothing():
  x, boxes = make_inputs()
  params = random_params(x, boxes)
  present = jnp.array([[True, True, False], [False] * 3])[..., None, None]
  boxes = jnp.where(present[..., 0], boxes, 0.0)

  def loss(params, x):
    y = RegionFeatures(**FIELDS).apply({"params": params}, x, boxes, present)
    return jnp.square(y - present).sum(), y

  (grads, of_x), y = jax.grad(loss, (0, 1), has_aux=True)(params, x)
  assert (y[~present[..., 0, 0]] == 0).all()
  assert (of_x[1] == 0).all()
  for name, g in grads.items():
    assert np.isfinite(g["kernel"]).all(), name
    assert jnp.abs(g["kernel"]).max() > 1e-4, name


@pytest.mark.parametrize("softmax", [False, True])
def test_roi_align_is_the_limit(softmax):
  x, boxes = make_inputs()
  weights = aligned_weights(boxes, (2, 3), (4, 5))
  if softmax:
    weights = region_weights(jnp.log(weights))
  y = pool_regions(x, weights)
  assert y.shape == (2, 3, 6, 6)
  for n, r, k, c in np.ndindex(*y.shape):
    row, column = divmod(k, 3)
    cx, cy, width, height = np.array(boxes[n, r])
    place = [
      jnp.array([cy + height * ((row + 0.5) / 2 - 0.5)]),
      jnp.array([cx + width * ((column + 0.5) / 3 - 0.5)]),
    ]
    expected = map_coordinates(x[n, :, :, c], place, order=1)
    np.testing.assert_allclose(y[n, r, k, c], expected[0], rtol=1e-4, atol=1e-5)


def test_coordinates_become_sine_and_cosine_in_turns():
  found = embed_coordinates(jnp.array([2.0]), 4)
  slow = 2 / 1000**0.5
  np.testing.assert_allclose(
    found, [[np.sin(2), np.cos(2), np.sin(slow), np.cos(slow)]], rtol=1e-6
  )
  with pytest.raises(ValueError, match="an embedding of 3 numbers"):
    embed_coordinates(jnp.zeros(1), 3)


def test_bfloat16_leaves_geometry_and_softmax_alone():
  x, boxes = make_inputs()
  params = random_params(x, boxes)
  params["appearance"] = jax.tree.map(jnp.zeros_like, params["appearance"])
  # 1/8 of a cell at 200 is less than bfloat16 tells apart.
  boxes = boxes.at[..., :2].add(200.125)
  found, expected = (
    RegionFeatures(**FIELDS, dtype=dtype).apply(
      {"params": params},
      x.astype(dtype),
      boxes,
      mutable=["intermediates"],
    )
    for dtype in (jnp.bfloat16, jnp.float32)
  )
  assert found[0].dtype == jnp.bfloat16
  np.testing.assert_array_equal(
    found[1]["intermediates"]["attention"][0],
    expected[1]["intermediates"]["attention"][0],
  )


def test_jit_and_vmap():
  x, boxes = make_inputs()
  params = random_params(x, boxes)

  def apply(x, boxes):
    module = RegionFeatures(**FIELDS)
    return module.apply({"params": params}, x[None], boxes[None])[0]

  whole = RegionFeatures(**FIELDS).apply({"params": params}, x, boxes)
  np.testing.assert_allclose(
    jax.jit(jax.vmap(apply))(x, boxes), whole, rtol=1e-4, atol=1e-5
  )


def test_the_number_of_parameters():
  x, boxes = make_inputs()
  params = random_params(x, boxes)
  count = sum(x.size for x in jax.tree.leaves(params))
  # Of a box and of each bin, of a place, and of what a cell looks like.
  assert count == 4 * 8 * 8 + 8 * 3 * 4 + 2 * 8 * 4 + 6 * 3
