"""What a network relates from pixels: cells, regions or found objects."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import tiny
from rn_jax.models.scene import grid_boxes
from rn_jax.settings import num_objects, resolve
from rn_jax.steps import make_model


def make_network(objects, kind="pairwise"):
  config = tiny.get_config("original_fp")
  config.model.objects = objects
  config.model.regions = 2
  config.model.head.kind = kind
  model = make_model(config, 9, 4)
  rng = np.random.default_rng(0)
  batch = {
    "image": jnp.asarray(rng.integers(0, 256, (2, 32, 32, 3), np.uint8)),
    "question": jnp.ones((2, 1, 3), jnp.int32),
    "question_length": jnp.full((2, 1), 3),
  }
  return config, model, batch


@pytest.mark.parametrize(
  ("objects", "number", "features"),
  [("cells", 16, 10), ("regions", 4, 10), ("found", 10, 18)],
)
def test_there_are_as_many_objects_as_settings_say(objects, number, features):
  config, model, batch = make_network(objects)
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)
  encode = functools.partial(model.apply, method="encode_scenes")
  scene = jax.eval_shape(encode, variables, batch)
  assert scene.objects.shape == (2, number, features)
  assert num_objects(config) == number
  assert resolve(config).model.objects == objects
  logits, _ = jax.eval_shape(model.apply, variables, batch)
  assert logits.shape == (2, 1, 4)


def test_regions_lie_in_their_grid_and_see_the_whole_picture():
  _, model, batch = make_network("regions", "object_relation")
  variables = jax.jit(model.init)(jax.random.key(0), batch)
  encode = jax.jit(functools.partial(model.apply, method="encode_scenes"))
  scene = encode(variables, batch)
  np.testing.assert_allclose(scene.boxes, grid_boxes(2, 2)[None])

  def total(image):
    image = {**batch, "image": image}
    scene = encode(variables, image)
    return (scene.objects[:, 0] ** 2).sum()

  gradient = jax.jit(jax.grad(total))(batch["image"] / 255.0)
  corners = np.abs(gradient).sum(-1)[:, [0, 0, -1, -1], [0, -1, 0, -1]]
  assert (corners > 0).all()
  # Where logits are even, a region is the mean over the cells, places included.
  even = jax.tree.map(jnp.zeros_like, variables["params"]["region_features"])
  params = {**variables["params"], "region_features": even}
  scene = encode({**variables, "params": params}, batch)
  np.testing.assert_allclose(scene.objects[..., -2:], 0.0, atol=1e-6)


def test_other_objects_are_refused():
  config, model, batch = make_network("boxes")
  message = "objects is 'boxes', none of cells, regions, found"
  with pytest.raises(ValueError, match=message):
    num_objects(config)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(model.init, jax.random.key(0), batch)
