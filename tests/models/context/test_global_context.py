"""SE, eSE, simplified non-local and GC blocks, and what lies between them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from rn_jax.models.context.global_context import (
  CONTEXTS,
  FUSIONS,
  TRANSFORMS,
  GlobalContext,
  effective_squeeze_excite,
  global_context,
  simplified_non_local,
  squeeze_excite,
)

CHOICES = list(itertools.product(CONTEXTS, TRANSFORMS, FUSIONS))


def fuse_by_hand(x, mask, params, context, transform, fusion):
  """One image, one cell at a time, in float64."""
  params = jax.tree.map(np.float64, params)

  def dense(x, name):
    return x @ params[name]["kernel"] + params[name]["bias"]

  def transformed(t, name):
    if transform != "linear":
      t = dense(t, f"{name}_0")
      if transform == "normalized_bottleneck":
        norm = params[f"{name}_norm"]
        t = (t - t.mean()) / np.sqrt(t.var() + 1e-5)
        t = t * norm["scale"] + norm["bias"]
      t = np.maximum(t, 0)
    return dense(t, f"{name}_1")

  result = np.float64(x)
  for image, present in zip(result, mask, strict=True):
    cells = image[present]
    weights = np.ones(len(cells))
    if context == "attention":
      weights = np.exp(dense(cells, "attention_logits")[:, 0])
    gathered = np.zeros(x.shape[-1])
    for weight, cell in zip(weights, cells, strict=True):
      gathered += weight * cell / weights.sum()
    if "scale" in fusion:
      z = transformed(gathered, "scale")
      hard = fusion == "hard_scale"
      image *= np.clip(z / 6 + 0.5, 0, 1) if hard else 1 / (1 + np.exp(-z))
    if "add" in fusion:
      image += transformed(gathered, "add")
  return result


def random_params(block, x):
  """Returns parameters of which none is zero."""
  shapes = jax.eval_shape(block.init, jax.random.key(0), x)["params"]
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda s: jnp.asarray(rng.normal(size=s.shape), jnp.float32), shapes
  )


def normal(*shape):
  values = np.random.default_rng(0).normal(size=shape)
  return jnp.asarray(values, jnp.float32)


@pytest.mark.parametrize(("context", "transform", "fusion"), CHOICES)
@pytest.mark.parametrize("masked", [False, True])
def test_every_combination_is_that_of_a_loop(
  context, transform, fusion, masked
):
  x = normal(3, 4, 3, 8)
  mask = np.ones((3, 4, 3), bool)
  if masked:
    mask = np.random.default_rng(2).random(mask.shape) < 0.6
    mask[2] = False  # all padding
  block = GlobalContext(context, transform, fusion, ratio=1 / 2)
  params = random_params(block, x)
  y, state = block.apply(
    {"params": params},
    x,
    jnp.array(mask) if masked else None,
    mutable=["intermediates"],
  )
  expected = fuse_by_hand(x, mask, params, context, transform, fusion)
  np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
  attention = state["intermediates"]["attention"][0]
  assert (attention[~mask] == 0).all()
  np.testing.assert_allclose(attention.sum((1, 2)), mask.any((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("make", [simplified_non_local, global_context])
def test_what_adds_starts_as_the_identity(make):
  x = normal(2, 4, 3, 32)
  block = make()
  variables = block.init(jax.random.key(0), x)
  np.testing.assert_array_equal(block.apply(variables, x), x)


@pytest.mark.parametrize("make", [squeeze_excite, effective_squeeze_excite])
def test_what_scales_halves_where_its_weights_are_zeros(make):
  x = normal(2, 4, 3, 16)
  block = make()
  variables = block.init(jax.random.key(0), x)
  assert jnp.abs(block.apply(variables, x) - x / 2).max() > 1e-3
  zeros = jax.tree.map(jnp.zeros_like, variables)
  np.testing.assert_allclose(block.apply(zeros, x), x / 2, rtol=1e-6)


def test_the_presets_have_the_parameters_of_the_papers():
  c = 24
  sizes = {
    "se": (squeeze_excite(ratio=1 / 4), 318),
    "ese": (effective_squeeze_excite(), c * c + c),
    "snl": (simplified_non_local(), 625),
    "gc": (global_context(ratio=1 / 4), 355),
  }
  for name, (block, size) in sizes.items():
    params = random_params(block, normal(1, 2, 2, c))
    assert sum(p.size for p in jax.tree.leaves(params)) == size, name


def test_attention_of_zeros_averages():
  x = normal(2, 4, 3, 8)
  params = random_params(GlobalContext(ratio=1 / 2), x)
  params["attention_logits"] = jax.tree.map(
    jnp.zeros_like, params["attention_logits"]
  )
  average = {k: v for k, v in params.items() if k != "attention_logits"}
  np.testing.assert_allclose(
    GlobalContext(ratio=1 / 2).apply({"params": params}, x),
    GlobalContext("average", ratio=1 / 2).apply({"params": average}, x),
    rtol=1e-5,
    atol=1e-5,
  )


@pytest.mark.parametrize("started", [False, True])
def test_gradients_vanish_before_a_zero_end_and_of_the_attention_bias(started):
  x = normal(2, 4, 3, 8)
  block = global_context(ratio=1 / 2)
  params = block.init(jax.random.key(0), x)["params"]
  if started:
    params = random_params(block, x)
  grads = jax.grad(
    lambda p: jnp.square(block.apply({"params": p}, x) - 1).sum()
  )(params)
  scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads))
  learning = {
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, g in jax.tree_util.tree_leaves_with_path(grads)
    if jnp.abs(g).max() > 1e-5 * scale
  }
  last = {"add_1/kernel", "add_1/bias"}
  rest = {"attention_logits/kernel", "add_0/kernel", "add_0/bias"}
  rest |= {"add_norm/scale", "add_norm/bias"}
  assert learning == (last | rest if started else last)


@pytest.mark.parametrize("context", CONTEXTS)
def test_cells_may_change_places(context):
  x = normal(2, 4, 3, 8)
  block = GlobalContext(context, fusion="scale_and_add", ratio=1 / 2)
  params = random_params(block, x)
  order = np.random.default_rng(2).permutation(12)

  def permuted(x):
    return x.reshape(2, 12, -1)[:, order].reshape(x.shape)

  np.testing.assert_allclose(
    block.apply({"params": params}, permuted(x)),
    permuted(block.apply({"params": params}, x)),
    rtol=1e-4,
    atol=1e-5,
  )


def test_bfloat16_leaves_the_softmax_alone():
  x = normal(2, 4, 3, 8)
  block = global_context(ratio=1 / 2)
  params = random_params(block, x)
  y, state = block.copy(dtype=jnp.bfloat16).apply(
    {"params": params}, x, mutable=["intermediates"]
  )
  attention = state["intermediates"]["attention"][0]
  assert (y.dtype, attention.dtype) == (jnp.bfloat16, jnp.float32)
  np.testing.assert_allclose(attention.sum((1, 2)), 1.0, rtol=1e-6)
  np.testing.assert_allclose(y, block.apply({"params": params}, x), atol=0.2)


def test_jit_and_vmap():
  x = normal(3, 1, 4, 3, 8)
  block = global_context(ratio=1 / 2)
  params = random_params(block, x[0])

  def apply(x):
    return block.apply({"params": params}, x)

  expected = jnp.stack([apply(each) for each in x])
  np.testing.assert_allclose(
    jax.jit(jax.vmap(apply))(x), expected, rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize(
  ("block", "message"),
  [
    (GlobalContext("max"), "context is 'max', not one of"),
    (GlobalContext(transform="none"), "transform is 'none'"),
    (GlobalContext(fusion="gate"), "fusion is 'gate'"),
    (global_context(), "a bottleneck of 1 of 24 channels"),
  ],
)
def test_what_does_not_fit_is_refused(block, message):
  with pytest.raises(ValueError, match=message):
    block.init(jax.random.key(0), jnp.zeros((1, 2, 2, 24)))


def from_torch(expected):
  return expected.detach().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("fusion", ["add", "scale", "scale_and_add"])
def test_mmcv_agrees(context, fusion):
  torch = pytest.importorskip("torch")
  mmcv = pytest.importorskip("mmcv.cnn")
  x = normal(2, 4, 3, 8)
  block = GlobalContext(context, fusion=fusion, ratio=1 / 2)
  params = random_params(block, x)
  kinds = {"scale": "channel_mul", "add": "channel_add"}
  theirs = mmcv.ContextBlock(
    8,
    1 / 2,
    pooling_type="att" if context == "attention" else "avg",
    fusion_types=tuple(v for k, v in kinds.items() if k in fusion),
  )
  state = {}

  def put(name, layer):
    if "scale" in layer:  # a LayerNorm over [planes, 1, 1]
      state[f"{name}.weight"] = np.array(layer["scale"])[:, None, None]
      state[f"{name}.bias"] = np.array(layer["bias"])[:, None, None]
    else:
      state[f"{name}.weight"] = np.array(layer["kernel"]).T[..., None, None]
      state[f"{name}.bias"] = np.array(layer["bias"])

  for ours, kind in kinds.items():
    if ours in fusion:
      put(f"{kind}_conv.0", params[f"{ours}_0"])
      put(f"{kind}_conv.1", params[f"{ours}_norm"])
      put(f"{kind}_conv.3", params[f"{ours}_1"])
  if context == "attention":
    put("conv_mask", params["attention_logits"])
  theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
  np.testing.assert_allclose(
    block.apply({"params": params}, x),
    from_torch(theirs(torch.tensor(np.array(x)).permute(0, 3, 1, 2))),
    rtol=1e-4,
    atol=1e-5,
  )


@pytest.mark.parametrize("name", ["SEModule", "EffectiveSEModule"])
def test_timm_agrees(name):
  torch = pytest.importorskip("torch")
  timm = pytest.importorskip("timm.layers")
  x = normal(2, 4, 3, 16)
  if name == "SEModule":
    block = squeeze_excite(ratio=1 / 2)
    theirs = timm.SEModule(16, rd_channels=8)
    names = {"fc1": "scale_0", "fc2": "scale_1"}
  else:
    block = effective_squeeze_excite()
    theirs = timm.EffectiveSEModule(16)
    names = {"fc": "scale_1"}
  params = random_params(block, x)
  state = {}
  for name, ours in names.items():
    kernel = np.array(params[ours]["kernel"]).T[..., None, None]
    state[f"{name}.weight"] = torch.tensor(kernel)
    state[f"{name}.bias"] = torch.tensor(np.array(params[ours]["bias"]))
  theirs.load_state_dict(state)
  np.testing.assert_allclose(
    block.apply({"params": params}, x),
    from_torch(theirs(torch.tensor(np.array(x)).permute(0, 3, 1, 2))),
    rtol=1e-4,
    atol=1e-5,
  )


def test_a_hard_sigmoid_is_a_sixth_as_steep():
  np.testing.assert_allclose(
    nn.hard_sigmoid(jnp.array([-3.0, 0.0, 1.5, 3.0])), [0.0, 0.5, 0.75, 1.0]
  )
