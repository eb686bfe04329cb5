"""Context blocks of a config, behind the convolutions of a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import tiny
from rn_jax.models.context.block import KINDS
from rn_jax.models.conv_encoder import ConvEncoder
from rn_jax.settings import read_config

BLOCKS = [kind for kind in KINDS if kind != "none"]
# Those that start as the identity, for what they add starts at zero.
ADDED = {"gc", "snl", "nl"}


def make_encoder(kind, stages=(0, 1)):
  config = tiny.get_config("original_fp").model
  config.conv_channels = (8, 8)
  config.encoder.context.update(kind=kind, stages=stages)
  return ConvEncoder(
    config.conv_channels, jnp.float32, None, None, config.encoder.context
  )


@pytest.fixture(scope="module")
def image():
  rng = np.random.default_rng(0)
  return jnp.asarray(rng.integers(0, 256, (2, 16, 16, 3), np.uint8))


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_stands_behind_the_chosen_convolutions(kind, image):
  encoder = make_encoder(kind)
  init = jax.jit(encoder.init, static_argnames="train")
  variables = init(jax.random.key(0), image, train=False)
  params = variables["params"]
  assert {n for n in params if "context" in n} == {"context_0", "context_1"}
  plain = {k: v for k, v in params.items() if "context" not in k}
  stats = variables["batch_stats"]
  without = make_encoder("none").apply(
    {"params": plain, "batch_stats": stats}, image, train=False
  )
  cells = encoder.apply(variables, image, train=False)
  assert np.array_equal(cells, without) == (kind in ADDED)

  # Once all of it has moved, all of it has a gradient, and cells see others.
  rng = np.random.default_rng(1)
  params = jax.tree.map(
    lambda x: x + jnp.asarray(rng.normal(0, 0.3, x.shape), x.dtype), params
  )

  def total(params):
    variables = {"params": params, "batch_stats": stats}
    cells = encoder.apply(variables, image, train=False)
    return (cells**2).sum()

  gradient = jax.jit(jax.grad(total))(params)
  for path, x in jax.tree_util.tree_leaves_with_path(
    {name: gradient[name] for name in ("context_0", "context_1")}
  ):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    # They move all logits of a softmax alike.
    free = ("attention_logits/bias", "phi/bias", "key/bias", "prior_1/bias")
    if not name.endswith(free):
      assert np.any(np.abs(x) > 1e-6), name


def test_none_has_no_parameters_and_older_files_have_none(image):
  variables = make_encoder("none").init(jax.random.key(0), image, train=False)
  assert not [name for name in variables["params"] if "context" in name]
  old = tiny.get_config("original_fp").to_dict()
  del old["model"]["encoder"]
  assert read_config(old).model.encoder.context.kind == "none"


@pytest.mark.parametrize(
  ("kind", "stages", "message"),
  [
    ("gcn", (1,), "kind is 'gcn', none of none, se, ese"),
    ("gc", (1, 2), "stages has 2; convolutions are counted from 0 to 1"),
  ],
)
def test_mistakes_are_named(kind, stages, message, image):
  with pytest.raises(ValueError, match=message):
    make_encoder(kind, stages).init(jax.random.key(0), image, train=False)
