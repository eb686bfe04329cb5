"""The local relation layer against loops, and in special cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rn_jax.models.context.local_relation import (
  LocalRelation,
  local_attention,
  sum_neighbours,
)

KERNEL = 5


def relate_by_hand(x, queries, keys, prior, strides, similarity):
  """One window, one neighbour, one channel at a time, in float64."""
  x, queries, keys, prior = map(np.float64, (x, queries, keys, prior))
  b, h, w, channels = x.shape
  groups = keys.shape[-1]
  radius = round(len(prior) ** 0.5) // 2
  result = np.zeros((b, -(-h // strides), -(-w // strides), channels))
  for n, r, c, channel in np.ndindex(*result.shape):
    group = channel // (channels // groups)
    query = queries[n, r, c, group]
    logits, values = [], []
    for i in range(-radius, radius + 1):
      for j in range(-radius, radius + 1):
        y, z = r * strides + i, c * strides + j
        if 0 <= y < h and 0 <= z < w:
          key = keys[n, y, z, group]
          similar = {
            "mul": query * key,
            "sq": -((query - key) ** 2),
            "abs": -abs(query - key),
          }[similarity]
          place = (i + radius) * (2 * radius + 1) + j + radius
          logits.append(similar + prior[place, group])
          values.append(x[n, y, z, channel])
    weights = np.exp(np.array(logits) - max(logits))
    result[n, r, c, channel] = weights @ values / weights.sum()
  return result


def random_layer(x, **fields):
  """Returns a layer and parameters of which none is zero."""
  layer = LocalRelation(**fields)
  shapes = jax.eval_shape(layer.init, jax.random.key(0), x)["params"]
  rng = np.random.default_rng(1)
  params = jax.tree.map(
    lambda s: jnp.asarray(rng.normal(size=s.shape), jnp.float32), shapes
  )
  return layer, params


def normal(*shape, seed=0):
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


@pytest.mark.parametrize("similarity", ["mul", "sq", "abs"])
@pytest.mark.parametrize(
  ("size", "strides"), [((6, 5), 1), ((6, 5), 2), ((5, 7), 3)]
)
def test_windows_are_those_of_a_loop(similarity, size, strides):
  x, keys = normal(2, *size, 6), normal(2, *size, 3, seed=1)
  queries = normal(2, *size, 3, seed=2)[:, ::strides, ::strides]
  prior = normal(KERNEL**2, 3, seed=3)
  weights = local_attention(queries, keys, prior, strides, similarity)
  np.testing.assert_allclose(weights.sum(-2), 1.0, rtol=1e-5)
  expected = relate_by_hand(x, queries, keys, prior, strides, similarity)
  np.testing.assert_allclose(
    sum_neighbours(x, weights, strides), expected, rtol=1e-4, atol=1e-5
  )


def test_the_layer_projects_and_has_a_prior_of_offsets():
  x = normal(2, 4, 5, 16)
  layer, params = random_layer(x, features=6, kernel=KERNEL, strides=2)

  def dense(x, name):
    return x @ params[name]["kernel"] + params[name]["bias"]

  places = np.array(
    [(c / 2, r / 2) for r in range(-2, 3) for c in range(-2, 3)]
  )
  prior = dense(jnp.maximum(dense(places, "prior_0"), 0), "prior_1")
  y = relate_by_hand(
    x, dense(x, "query")[:, ::2, ::2], dense(x, "key"), prior, 2, "mul"
  )
  np.testing.assert_allclose(
    layer.apply({"params": params}, x),
    dense(y, "channels"),
    rtol=1e-4,
    atol=1e-4,
  )
  # Two groups: query and key, prior of 8 hidden units, channels.
  assert sum(p.size for p in jax.tree.leaves(params)) == (
    2 * (16 + 1) * 2 + (2 + 1) * 8 + (8 + 1) * 2 + (16 + 1) * 6
  )


def test_without_query_key_and_prior_it_averages_what_is_inside():
  x = normal(1, 6, 9, 4)
  zeros = jnp.zeros((1, 6, 9, 2))
  weights = local_attention(zeros, zeros, jnp.zeros((49, 2)))
  expected = np.zeros(x.shape)
  for r, c in np.ndindex(6, 9):
    window = x[:, max(r - 3, 0) : r + 4, max(c - 3, 0) : c + 4]
    expected[:, r, c] = window.mean((1, 2))
  np.testing.assert_allclose(
    sum_neighbours(x, weights), expected, rtol=1e-5, atol=1e-6
  )
  # A corner's window has 4 x 4 of its 49 cells inside, and no other counts.
  corner = np.array(weights[0, 0, 0, :, 0]).reshape(7, 7)
  np.testing.assert_allclose(corner[3:, 3:], 1 / 16, rtol=1e-6)
  assert (corner[:3] == 0).all()
  assert (corner[:, :3] == 0).all()


def test_a_prior_of_one_place_shifts():
  x = normal(1, 4, 5, 2)
  zeros = jnp.zeros((1, 4, 5, 1))
  prior = jnp.zeros((9, 1)).at[5].set(100.0)  # the cell to the right
  y = sum_neighbours(x, local_attention(zeros, zeros, prior))
  np.testing.assert_allclose(y[:, :, :-1], x[:, :, 1:], rtol=1e-5)


def test_a_cell_sees_its_window_only_and_moves_with_the_picture():
  x = normal(1, 5, 12, 16)
  layer, params = random_layer(x, features=4, kernel=KERNEL)
  apply = jax.jit(lambda x: layer.apply({"params": params}, x))
  whole = apply(x)
  np.testing.assert_allclose(
    apply(x[:, :, :8])[:, :, :6], whole[:, :, :6], rtol=1e-4, atol=1e-4
  )
  # Cells with a whole window move with the picture.
  moved = apply(jnp.roll(x, 1, 2))
  np.testing.assert_allclose(
    moved[:, :, 3:-2], whole[:, :, 2:-3], rtol=1e-4, atol=1e-4
  )


@pytest.mark.parametrize("similarity", ["mul", "sq", "abs"])
def test_gradients_vanish_only_where_all_logits_of_a_window_move(similarity):
  x = normal(2, 5, 5, 8)
  layer, params = random_layer(
    x, features=3, kernel=3, channels_per_key=4, similarity=similarity
  )
  target = normal(2, 5, 5, 3, seed=4)
  grads = jax.grad(
    lambda p: jnp.square(layer.apply({"params": p}, x) - target).sum()
  )(params)
  scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads))
  vanishing = {
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, g in jax.tree_util.tree_leaves_with_path(grads)
    if jnp.abs(g).max() < 1e-5 * scale
  }
  expected = {"prior_1/bias"} | ({"key/bias"} if similarity == "mul" else set())
  assert vanishing == expected


def test_bfloat16_leaves_prior_and_softmax_alone():
  x = normal(2, 5, 5, 8)
  fields = {"features": 4, "kernel": 3, "channels_per_key": 4}
  layer, params = random_layer(x, **fields)
  y, state = LocalRelation(**fields, dtype=jnp.bfloat16).apply(
    {"params": params}, x, mutable=["intermediates"]
  )
  weights = state["intermediates"]["attention"][0]
  assert y.dtype == jnp.bfloat16
  assert weights.dtype == jnp.float32
  np.testing.assert_allclose(weights.sum(-2), 1.0, rtol=1e-6)
  expected = layer.apply({"params": params}, x)
  # The weights of an x of zeros are the prior alone, to the last bit.
  zero = jax.tree.map(jnp.zeros_like, params)
  prior_only = {k: v if "prior" in k else zero[k] for k, v in params.items()}
  found, exact = (
    LocalRelation(**fields, dtype=dtype).apply(
      {"params": prior_only}, x, mutable=["intermediates"]
    )[1]["intermediates"]["attention"][0]
    for dtype in (jnp.bfloat16, jnp.float32)
  )
  np.testing.assert_array_equal(found, exact)
  spread = np.abs(expected).max()
  np.testing.assert_allclose(y, expected, atol=0.1 * spread)


def test_the_prior_begins_as_large_as_asked():
  x = normal(1, 4, 4, 8)
  small, large = (
    LocalRelation(4, prior_scale=scale).init(jax.random.key(0), x)["params"]
    for scale in (1.0, 15.0)
  )
  np.testing.assert_allclose(
    large["prior_1"].pop("kernel"),
    15 * small["prior_1"].pop("kernel"),
    rtol=1e-5,
  )
  jax.tree.map(np.testing.assert_array_equal, large, small)


def test_jit_and_vmap_are_a_loop():
  x = normal(3, 1, 4, 4, 8)
  layer, params = random_layer(x[0], features=4, kernel=3)

  def apply(x):
    return layer.apply({"params": params}, x)

  expected = jnp.stack([apply(each) for each in x])
  for found in (jax.vmap(apply)(x), jax.jit(apply)(x.reshape(3, 4, 4, 8))):
    np.testing.assert_allclose(
      found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({}, "channels_per_key=8 does not divide 100"),
    ({"channels_per_key": 4, "kernel": 6}, "kernel is 6"),
    ({"channels_per_key": 4, "similarity": "cos"}, "similarity is 'cos'"),
  ],
)
def test_what_does_not_fit_is_refused(fields, message):
  layer = LocalRelation(4, **fields)
  with pytest.raises(ValueError, match=message):
    layer.init(jax.random.key(0), jnp.zeros((1, 4, 4, 100)))
