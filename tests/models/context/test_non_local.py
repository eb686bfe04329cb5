"""The non-local block against loops, libraries, and in special cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rn_jax.models.context.non_local import MODES, NonLocal


def relate_by_hand(x, params, mode, subsample):
  """One query at a time, in float64."""
  b, h, w = x.shape[:3]

  def dense(x, name):
    layer = params[name]
    return x @ np.float64(layer["kernel"]) + np.float64(layer["bias"])

  def pool(x):
    if not subsample:
      return x.reshape(-1, x.shape[-1])
    return np.array(
      [
        x[r : r + 2, k : k + 2].max((0, 1))
        for r in range(0, h - 1, 2)
        for k in range(0, w - 1, 2)
      ]
    )

  result = np.zeros(x.shape)
  for n in range(b):
    image = np.float64(x[n])
    values = pool(dense(image, "g"))
    plain = mode == "gaussian"
    keys = pool(image if plain else dense(image, "phi"))
    queries = image if plain else dense(image, "theta")
    for r, k in np.ndindex(h, w):
      query = queries[r, k]
      if mode == "concatenation":
        weights = np.array(
          [
            max(0, np.concatenate([query, key]) @ np.float64(params["w"])[:, 0])
            for key in keys
          ]
        ) / len(keys)
      elif mode == "dot_product":
        weights = keys @ query / len(keys)
      else:
        logits = keys @ query / (1 if plain else np.sqrt(len(query)))
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
      result[n, r, k] = image[r, k] + dense(weights @ values, "z")
  return result


def random_block(x, **fields):
  """Returns a block and parameters of which none is zero."""
  block = NonLocal(**fields)
  shapes = jax.eval_shape(block.init, jax.random.key(0), x)["params"]
  rng = np.random.default_rng(1)
  params = jax.tree.map(
    lambda s: jnp.asarray(0.5 * rng.normal(size=s.shape), jnp.float32), shapes
  )
  return block, params


def normal(*shape, seed=0):
  values = np.random.default_rng(seed).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("subsample", [False, True])
def test_cells_gather_what_a_loop_gathers(mode, subsample):
  x = normal(2, 5, 4, 6)
  block, params = random_block(x, mode=mode, subsample=subsample)
  y, state = block.apply({"params": params}, x, mutable=["intermediates"])
  np.testing.assert_allclose(
    y, relate_by_hand(x, params, mode, subsample), rtol=1e-4, atol=1e-5
  )
  attention = state["intermediates"]["attention"][0]
  assert attention.shape == (2, 20, 4 if subsample else 20)
  if "gaussian" in mode:
    np.testing.assert_allclose(attention.sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_it_starts_as_the_identity_and_only_its_end_learns(mode):
  x = normal(2, 4, 4, 6)
  block = NonLocal(mode)
  params = block.init(jax.random.key(0), x)["params"]

  def loss(params):
    y = block.apply({"params": params}, x)
    return jnp.square(y - 1).sum(), y

  grads, y = jax.grad(loss, has_aux=True)(params)
  np.testing.assert_array_equal(y, x)
  moved = {
    name
    for name, g in grads.items()
    if any(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(g))
  }
  assert moved == {"z"}


@pytest.mark.parametrize("mode", MODES)
def test_once_its_end_has_moved_all_learn_but_a_softmax_bias(mode):
  x = normal(2, 4, 4, 6)
  block, params = random_block(x, mode=mode)
  grads = jax.grad(
    lambda p: jnp.square(block.apply({"params": p}, x) - 1).sum()
  )(params)
  scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads))
  vanishing = {
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, g in jax.tree_util.tree_leaves_with_path(grads)
    if jnp.abs(g).max() < 1e-5 * scale
  }
  assert vanishing == ({"phi/bias"} if mode == "embedded_gaussian" else set())


@pytest.mark.parametrize("mode", MODES)
def test_cells_may_change_places(mode):
  x = normal(2, 4, 3, 6)
  block, params = random_block(x, mode=mode)
  order = np.random.default_rng(2).permutation(12)

  def permuted(x):
    return x.reshape(2, 12, -1)[:, order].reshape(x.shape)

  np.testing.assert_allclose(
    block.apply({"params": params}, permuted(x)),
    permuted(block.apply({"params": params}, x)),
    rtol=1e-4,
    atol=1e-5,
  )


def test_embedded_gaussian_is_attention_with_one_head():
  x = normal(2, 3, 4, 6)
  block, params = random_block(x)
  attention = nn.MultiHeadDotProductAttention(1, qkv_features=3, out_features=6)
  theirs = {
    theirs: {
      "kernel": params[ours]["kernel"][:, None],
      "bias": params[ours]["bias"][None],
    }
    for ours, theirs in (("theta", "query"), ("phi", "key"), ("g", "value"))
  }
  theirs["out"] = {
    "kernel": params["z"]["kernel"][None],
    "bias": params["z"]["bias"],
  }
  y = attention.apply({"params": theirs}, x.reshape(2, 12, 6))
  np.testing.assert_allclose(
    block.apply({"params": params}, x),
    x + y.reshape(x.shape),
    rtol=1e-4,
    atol=1e-5,
  )


def test_bfloat16_leaves_the_softmax_alone():
  x = normal(2, 4, 4, 6)
  block, params = random_block(x)
  expected = block.apply({"params": params}, x)
  y, state = NonLocal(dtype=jnp.bfloat16).apply(
    {"params": params}, x, mutable=["intermediates"]
  )
  attention = state["intermediates"]["attention"][0]
  assert (y.dtype, attention.dtype) == (jnp.bfloat16, jnp.float32)
  np.testing.assert_allclose(attention.sum(-1), 1.0, rtol=1e-6)
  np.testing.assert_allclose(y, expected, atol=0.1)


def test_size_jit_and_vmap():
  x = normal(3, 1, 4, 4, 6)
  block, params = random_block(x[0])
  # theta, phi and g to half the channels; z back.
  assert sum(p.size for p in jax.tree.leaves(params)) == 3 * 21 + 24

  def apply(x):
    return block.apply({"params": params}, x)

  expected = jnp.stack([apply(each) for each in x])
  np.testing.assert_allclose(
    jax.jit(jax.vmap(apply))(x), expected, rtol=1e-4, atol=1e-5
  )


def test_an_unknown_mode_is_refused():
  with pytest.raises(ValueError, match="mode is 'cosine', not one of"):
    NonLocal("cosine").init(jax.random.key(0), jnp.zeros((1, 2, 2, 4)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("subsample", [False, True])
def test_mmcv_agrees(mode, subsample):
  torch = pytest.importorskip("torch")
  mmcv = pytest.importorskip("mmcv.cnn")
  x = normal(2, 6, 4, 8)
  block, params = random_block(x, mode=mode, subsample=subsample)
  theirs = mmcv.NonLocal2d(8, mode=mode, sub_sample=subsample)
  names = {"g": "g", "theta": "theta", "phi": "phi", "z": "conv_out"}
  state = {}
  for ours, name in names.items():
    if ours in params:
      # Where keys are maxima, a layer is followed by them.
      name += ".0" if subsample and ours in ("g", "phi") else ""
      kernel = np.array(params[ours]["kernel"]).T[..., None, None]
      state[f"{name}.conv.weight"] = torch.tensor(kernel)
      state[f"{name}.conv.bias"] = torch.tensor(np.array(params[ours]["bias"]))
  if mode == "concatenation":
    kernel = np.array(params["w"]).T[..., None, None]
    state["concat_project.conv.weight"] = torch.tensor(kernel)
  theirs.load_state_dict(state)
  with torch.no_grad():
    expected = theirs(torch.tensor(np.array(x)).permute(0, 3, 1, 2))
  np.testing.assert_allclose(
    block.apply({"params": params}, x),
    expected.permute(0, 2, 3, 1).numpy(),
    rtol=1e-4,
    atol=1e-5,
  )
