"""The heads of a config: one contract, whatever is inside."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from configs import tiny
from rn_jax.models.blocks import map_blocks
from rn_jax.models.relation.head import KINDS, make_head
from rn_jax.models.scene import Scene
from rn_jax.steps import make_model

RELATIONS = KINDS[1:]


def make_config(kind, inputs="sd", **changes):
  config = tiny.get_config(f"original_{inputs}")
  config.model.head.kind = kind
  config.model.head.geometry = "signed"
  for key, value in changes.items():
    config.model[key] = value
  return config


def make_batch(config, scenes=3, questions=2):
  rng = np.random.default_rng(0)
  batch = {
    "question": rng.integers(1, 9, (scenes, questions, 5)),
    "question_length": np.full((scenes, questions), 5),
  }
  if config.model.inputs == "pixels":
    batch["image"] = rng.integers(0, 256, (scenes, 32, 32, 3), np.uint8)
  else:
    attributes = rng.integers(1, 3, (scenes, 10, 4)).astype(np.float32)
    places = rng.uniform(-3, 3, (scenes, 10, 3)).astype(np.float32)
    batch["object_mask"] = np.arange(10) < np.array([[3], [5], [9]])
    objects = np.concatenate([places, attributes], -1)
    batch["objects"] = objects * batch["object_mask"][..., None]
  return jax.tree.map(jnp.asarray, batch)


def make_network(config):
  model, batch = make_model(config, 9, 4), make_batch(config)
  variables = jax.jit(model.init)(jax.random.key(0), batch)
  return model, batch, variables


def jitted(model, **options):
  return jax.jit(functools.partial(model.apply, **options))


@pytest.mark.parametrize(
  ("kind", "inputs"),
  [
    ("object_relation", "sd"),
    ("object_relation", "fp"),
    ("object_relation_pairwise", "fp"),
  ],
)
def test_blocks_change_neither_value_nor_gradient(kind, inputs):
  config = make_config(kind, inputs)
  config.model.head.layers = 1
  model, batch, variables = make_network(config)
  scene, code = jitted(model, method="encode")(variables, batch)
  if inputs == "fp":
    assert scene.boxes.shape[0] == 1  # all pictures have the same cells

  def loss(params, objects, block):
    def answer(scene, code):
      logits, _ = model.apply({"params": params}, scene, code, method="reason")
      return jnp.square(logits).sum(), logits

    scenes = scene._replace(objects=objects)
    total, logits = map_blocks(answer, scenes, code, block)
    return total, logits

  results = [
    jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True), static_argnums=2)(
      variables["params"], scene.objects, block
    )
    for block in (None, 2)
  ]
  whole, blocks = (np.asarray(ravel_pytree(x)[0]) for x in results)
  assert np.linalg.norm(whole - blocks) < 1e-5 * np.linalg.norm(whole)
  assert results[0][0][1].shape == (3, 2, 4)


@pytest.mark.parametrize("kind", RELATIONS)
def test_absent_objects_and_their_order_do_not_matter(kind):
  model, batch, variables = make_network(make_config(kind))
  logits, _ = jax.jit(model.apply)(variables, batch)
  order = np.random.default_rng(1).permutation(10)
  shuffled = batch | {
    name: batch[name][:, order] for name in ("objects", "object_mask")
  }
  found, _ = jax.jit(model.apply)(variables, shuffled)
  np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_free_of_the_question_is_what_describes_a_scene(kind, layer):
  config = make_config(kind, question_layer=layer, g_units=(32, 32))
  config.model.g_dropout = (0.0, 0.0)
  model, batch, variables = make_network(config)
  head = make_head(config.model)
  scene = jitted(model, method="encode_scenes")(variables, batch)

  def describe(core):
    params = variables["params"] | {"relation_core": core}
    found = model.apply({"params": params}, scene, method="describe")
    assert tuple(found) == head.described
    return sum(x.sum() for x in found.values())

  gradient = jax.jit(jax.grad(describe))(variables["params"]["relation_core"])
  paths = jax.tree_util.tree_leaves_with_path(gradient)
  used = {
    jax.tree_util.keystr(path, simple=True, separator="/")
    for path, x in paths
    if jnp.abs(x).max() > 0
  }
  free = tuple(f"{name}/" for name in head.question_free)
  assert all(name.startswith(free) for name in used)
  for name in head.question_free:
    assert any(x.startswith(f"{name}/") for x in used), name
  assert ("aggregate" in head.described) == (layer == 2)
  relations = jitted(model)(variables, batch)[1]["relations"]
  assert relations.shape[1] == (1 if layer == 2 else 2)


def test_context_that_starts_at_zero_leaves_the_pairs_alone():
  config = make_config("object_relation_pairwise")
  config.model.head.zero_init = True
  model, batch, variables = make_network(config)
  scene, code = jitted(model, method="encode")(variables, batch)
  relations = jitted(model)(variables, batch)[1]["relations"]
  core = variables["params"]["relation_core"]
  projected = scene.objects @ core["dense"]["kernel"] + core["dense"]["bias"]
  config.model.head.kind = "pairwise"
  pairs = make_head(config.model)
  expected = pairs.apply(
    {"params": core["pairs"]}, Scene(jax.nn.relu(projected), scene.mask), code
  )
  np.testing.assert_allclose(relations, expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_head_is_named():
  config = make_config("triples")
  with pytest.raises(ValueError, match=r"'triples', none of pairwise, object"):
    make_head(config.model)


def test_boxes_of_records_take_the_place_of_the_cameras():
  model, batch, variables = make_network(make_config("object_relation"))
  camera = jitted(model, method="encode_scenes")(variables, batch).boxes
  apply = jitted(model)
  same = apply(variables, batch | {"boxes": camera})[0]
  np.testing.assert_allclose(same, apply(variables, batch)[0], rtol=1e-5)
  # The first object is hidden: no box, and still no not-a-number.
  other = camera[:, ::-1].at[:, 0].set(0.0)
  logits = apply(variables, batch | {"boxes": other})[0]
  assert np.isfinite(logits).all()
  assert np.abs(logits - same).max() > 1e-4
