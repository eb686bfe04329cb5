"""LR-Net and ResNet: numbers of parameters, shapes, finite gradients."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rn_jax.models.context.lr_net import (
  LR_NET_WIDTHS,
  RESNET_WIDTHS,
  STAGE_SIZES,
  BottleneckNetwork,
  lr_net_parameters,
)

TABLE_WIDTHS = (100, 200, 400, 800)  # of the authors' table


def count(model):
  init = functools.partial(model.init, train=False)
  image = jnp.zeros((1, 224, 224, 3))
  shapes = jax.eval_shape(init, jax.random.key(0), image)
  return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize("layers", [26, 50])
def test_the_formula_counts_the_parameters_of_lr_net(layers):
  sizes = STAGE_SIZES[layers]
  model = BottleneckNetwork("local_relation", 1000, sizes, LR_NET_WIDTHS)
  assert count(model) == lr_net_parameters(layers)


def test_the_published_sizes():
  # The authors' table: 23.3 million.
  assert lr_net_parameters(50, TABLE_WIDTHS) == 23_404_922
  assert lr_net_parameters(50, TABLE_WIDTHS) == pytest.approx(23.3e6, rel=5e-3)
  assert lr_net_parameters(50) == 23_413_465
  # Reported elsewhere: 14.7 million.
  assert lr_net_parameters(26, TABLE_WIDTHS) == 14_625_092
  assert lr_net_parameters(26, TABLE_WIDTHS) == pytest.approx(14.7e6, rel=6e-3)
  assert lr_net_parameters(26) == 14_630_532


def test_with_convolutions_it_is_resnet():
  model = BottleneckNetwork("convolution", 1000, STAGE_SIZES[50], RESNET_WIDTHS)
  assert count(model) == 25_557_032  # of torchvision's resnet50


@pytest.mark.parametrize("spatial", ["local_relation", "convolution"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_small_network_learns_from_all_its_parameters(spatial, dtype):
  model = BottleneckNetwork(
    spatial, 3, (1, 1), (8, 16), (8, 16), stem=8, kernel=3, dtype=dtype
  )
  image = jax.random.normal(jax.random.key(0), (4, 20, 16, 3))
  init = jax.jit(functools.partial(model.init, train=True))
  variables = init(jax.random.key(1), image)

  def loss(params):
    logits, state = model.apply(
      {**variables, "params": params}, image, train=True, mutable="batch_stats"
    )
    return -jax.nn.log_softmax(logits)[:, 0].sum(), (logits, state)

  differentiate = jax.jit(jax.grad(loss, has_aux=True))
  grads, (logits, state) = differentiate(variables["params"])
  assert logits.shape == (4, 3)
  assert logits.dtype == jnp.float32
  # Biases move all logits of a window alike, or BatchNorm's mean removes them.
  exempt = re.compile(r"(key|prior_1|channels)/bias")
  for path, gradient in jax.tree_util.tree_leaves_with_path(grads):
    where = jax.tree_util.keystr(path, simple=True, separator="/")
    assert np.isfinite(gradient).all(), where
    assert exempt.search(where) or np.abs(gradient).max() > 1e-6, where
  before = jax.tree.leaves(variables["batch_stats"])
  after = jax.tree.leaves(state["batch_stats"])
  assert any((a != b).any() for a, b in zip(before, after, strict=True))


def test_an_unknown_layer_is_refused():
  model = BottleneckNetwork("attention", 3, (1,), (8,), (8,))
  with pytest.raises(ValueError, match="spatial is 'attention', not one of"):
    model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), train=False)
