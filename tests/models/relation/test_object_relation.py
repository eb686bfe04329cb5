"""The object relation module, against loops and in its special cases."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from relation_loops import object_relation, random_boxes

from rn_jax.models.relation.object_relation import ObjectRelation, pool_objects
from rn_jax.models.scene import Scene, grid_boxes

MASK = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
SMALL = {"num_relations": 2, "key_width": 3, "geometry_width": 16}


def make_scene(seed=0, count=5, features=8, masked=True) -> Scene:
  rng = np.random.default_rng(seed)
  objects = rng.normal(size=(3, count, features)).astype(np.float32)
  mask = MASK[:, :count] if masked else np.ones((3, count), bool)
  boxes = random_boxes(rng, 3, count)
  return Scene(jnp.array(objects), jnp.array(mask), jnp.array(boxes))


def make(scene, sources=None, **settings):
  """A module, and parameters of which none is zero."""
  module = ObjectRelation(**(SMALL | settings))
  params = module.init(jax.random.key(0), scene, sources)["params"]
  rng = np.random.default_rng(1)
  params = jax.tree.map(
    lambda p: p + rng.normal(scale=0.3, size=p.shape).astype(np.float32), params
  )
  return module, params


def run(module, params, scene, sources=None):
  """The objects and the weights."""
  out, sown = module.apply(
    {"params": params}, scene, sources, mutable="intermediates"
  )
  return out, sown["intermediates"]["weights"][0]


@pytest.mark.parametrize("geometry", ["log_abs", "signed", None])
@pytest.mark.parametrize("denominator", ["query", "key"])
@pytest.mark.parametrize("others", [False, True])
def test_it_computes_what_the_loops_do(geometry, denominator, others):
  scene = make_scene()
  sources = make_scene(seed=7, count=4, features=6) if others else None
  module, params = make(
    scene, sources, geometry=geometry, denominator=denominator
  )
  out, weights = run(module, params, scene, sources)
  for s in range(3):
    expected, expected_weights = object_relation(
      params,
      *(
        Scene(*(np.asarray(x[s], float) for x in some))
        for some in (scene, sources or scene)
      ),
      module,
    )
    # The embedding itself is exact to 1e-3.
    np.testing.assert_allclose(weights[s], expected_weights, atol=3e-3)
    np.testing.assert_allclose(out[s], expected, atol=5e-3)


def test_weights_of_present_objects_sum_to_one():
  scene = make_scene()
  _, weights = run(*make(scene), scene)
  np.testing.assert_allclose(
    weights.sum(-1), np.broadcast_to(MASK[:, None], (3, 2, 5)), atol=1e-6
  )
  assert not np.asarray(weights)[
    ~np.broadcast_to(MASK[:, None, None], weights.shape)
  ].any()


def test_it_starts_as_the_identity_with_only_values_to_learn():
  scene = make_scene(masked=False)
  module = ObjectRelation(**SMALL, zero_init=True)
  params = module.init(jax.random.key(0), scene)["params"]
  out, _ = run(module, params, scene)
  np.testing.assert_array_equal(out, scene.objects)
  gradient = jax.grad(
    lambda p: (module.apply({"params": p}, scene) ** 2).sum()
  )(params)
  for name, layer in gradient.items():
    for value in layer.values():
      assert np.any(value) == (name == "value")


@pytest.mark.parametrize("geometry", ["log_abs", "signed", None])
def test_all_parameters_learn_but_the_keys_bias(geometry):
  scene = make_scene(masked=False)
  module, params = make(scene, geometry=geometry)
  gradient = jax.grad(
    lambda p: (module.apply({"params": p}, scene) ** 2).sum()
  )(params)
  largest = np.abs(gradient["key"].pop("bias")).max()
  for value in jax.tree.leaves(gradient):
    assert np.abs(value).max() > 1e3 * largest


def test_without_geometry_it_is_multi_head_attention():
  scene = make_scene()
  # Its output projection, which here there is none of, is left out.
  module, params = make(scene, geometry=None, key_width=4)
  attention = nn.MultiHeadDotProductAttention(2, deterministic=True)
  theirs = {
    name: {
      "kernel": params[name]["kernel"].reshape(8, 2, 4),
      "bias": params[name]["bias"].reshape(2, 4),
    }
    for name in ("query", "key", "value")
  }
  theirs["out"] = {"kernel": jnp.eye(8).reshape(2, 4, 8), "bias": jnp.zeros(8)}
  x = jnp.where(MASK[..., None], scene.objects, 0.0)
  both = MASK[:, None, :, None] & MASK[:, None, None]
  expected = x + attention.apply({"params": theirs}, x, x, mask=both)
  out, _ = run(module, params, scene)
  np.testing.assert_allclose(out[MASK], expected[MASK], atol=1e-5)


def test_geometry_that_says_the_same_of_all_pairs_says_nothing():
  scene = make_scene()
  module, params = make(scene)
  without = ObjectRelation(**SMALL, geometry=None)
  # 1e-9: below the floor everywhere, appearance decides alone.
  for constant in (0.7, 1e-9):
    params["geometry"] = {
      "kernel": jnp.zeros((16, 2)),
      "bias": jnp.full(2, constant),
    }
    rest = {k: v for k, v in params.items() if k != "geometry"}
    np.testing.assert_allclose(
      run(module, params, scene)[0], run(without, rest, scene)[0], atol=1e-5
    )


def test_the_order_of_objects_does_not_matter():
  scene = make_scene()
  module, params = make(scene)
  order = np.array([3, 0, 4, 1, 2])
  out, weights = run(module, params, scene)
  shuffled = run(module, params, Scene(*(x[:, order] for x in scene)))
  np.testing.assert_allclose(shuffled[0], out[:, order], atol=1e-5)
  np.testing.assert_allclose(
    shuffled[1], weights[:, :, order][..., order], atol=1e-5
  )


@pytest.mark.parametrize("geometry", ["log_abs", "signed"])
def test_a_shift_or_change_of_scale_of_all_boxes_does_not_matter(geometry):
  scene = make_scene()
  module, params = make(scene, geometry=geometry)
  out, _ = run(module, params, scene)
  for boxes, atol in ((scene.boxes * 4, 0), (scene.boxes + 0.25, 1e-2)):
    moved, _ = run(module, params, scene._replace(boxes=boxes))
    np.testing.assert_allclose(moved, out, atol=atol)


def test_log_distances_do_not_see_a_mirror_and_signed_ones_do():
  scene = make_scene()
  # Steps of 1/256, so that mirroring rounds nothing.
  boxes = jnp.round(scene.boxes * 256) / 256
  mirrored = boxes.at[..., 0].set(1 - boxes[..., 2])
  mirrored = mirrored.at[..., 2].set(1 - boxes[..., 0])
  for geometry, alike in (("log_abs", True), ("signed", False)):
    module, params = make(scene, geometry=geometry)
    a, b = (
      run(module, params, scene._replace(boxes=x))[0] for x in (boxes, mirrored)
    )
    assert np.array_equal(a, b) == alike


@pytest.mark.parametrize("geometry", ["log_abs", "signed", None])
def test_absent_objects_neither_give_nor_take(geometry):
  scene = make_scene()
  module, params = make(scene, geometry=geometry)
  absent = ~scene.mask[..., None]

  def value(params, objects, boxes, mask=scene.mask):
    out = module.apply({"params": params}, Scene(objects, mask, boxes))
    return (out**2).sum(), out

  (_, out), gradients = jax.value_and_grad(value, (0, 1, 2), has_aux=True)(
    params, scene.objects, scene.boxes
  )
  assert not np.any(out[~MASK])
  for fill, box in ((1e3, 0.0), (np.nan, np.nan)):
    (_, other), others = jax.value_and_grad(value, (0, 1, 2), has_aux=True)(
      params,
      jnp.where(absent, fill, scene.objects),
      jnp.where(absent, box, scene.boxes),
    )
    np.testing.assert_array_equal(other, out)
    for a, b in zip(*map(jax.tree.leaves, (gradients, others)), strict=True):
      np.testing.assert_array_equal(a, b)
  assert not np.any(gradients[1][~MASK])
  assert np.all(np.any(gradients[1][MASK], -1))
  # A smaller scene without the absent ones has the same objects.
  alone = run(module, params, Scene(*(x[1:2, [0, 2, 3]] for x in scene)))[0]
  np.testing.assert_allclose(alone[0], out[1, [0, 2, 3]], atol=1e-5)


def test_nothing_is_not_finite_where_all_are_absent():
  scene = make_scene()
  scene = scene._replace(mask=jnp.zeros_like(scene.mask), boxes=0 * scene.boxes)
  module, params = make(scene)
  gradient = jax.grad(
    lambda p: (module.apply({"params": p}, scene) ** 2).sum()
  )(params)
  assert not any(np.any(g) for g in jax.tree.leaves(gradient))
  out, weights = run(module, params, scene)
  assert not np.any(out)
  assert not np.any(weights)


def test_bfloat16_touches_neither_geometry_nor_softmax():
  scene = make_scene()
  module, params = make(scene)
  # Appearance silent: only geometry is left to decide.
  for name in ("query", "key"):
    params[name] = jax.tree.map(jnp.zeros_like, params[name])
  _, exact = run(module, params, scene)
  half = module.clone(dtype=jnp.bfloat16)
  out, weights = run(half, params, scene)
  assert out.dtype == jnp.bfloat16
  assert weights.dtype == jnp.float32
  np.testing.assert_array_equal(weights, exact)


def test_jit_and_vmap_change_nothing():
  scene = make_scene()
  module, params = make(scene)

  def apply(scene):
    return module.apply({"params": params}, scene)

  expected = apply(scene)
  np.testing.assert_allclose(jax.jit(apply)(scene), expected, atol=1e-4)
  single = Scene(*(x[:, None] for x in scene))
  np.testing.assert_allclose(jax.vmap(apply)(single)[:, 0], expected, atol=1e-4)


def test_boxes_may_be_the_same_for_all_scenes():
  scene = Scene(make_scene(count=4).objects, boxes=grid_boxes(2, 2)[None])
  module, params = make(scene)
  each = scene._replace(boxes=jnp.repeat(scene.boxes, 3, 0))
  np.testing.assert_allclose(
    run(module, params, scene)[0], run(module, params, each)[0], atol=1e-5
  )


def test_the_number_of_parameters_is_the_papers():
  scene = make_scene(features=32)
  module = ObjectRelation(key_width=2)
  params = module.init(jax.random.key(0), scene)["params"]
  count = sum(p.size for p in jax.tree.leaves(params))
  assert count == 3 * (32**2 + 32) + 16 * (64 + 1)


def test_what_cannot_be_is_refused():
  scene = make_scene()
  with pytest.raises(ValueError, match="16 relations do not divide 8 features"):
    ObjectRelation().init(jax.random.key(0), scene)
  with pytest.raises(ValueError, match='"log_abs" needs the boxes'):
    make(scene._replace(boxes=None))
  with pytest.raises(ValueError, match=r"'max'.*sum.*mean"):
    pool_objects(scene.objects, None, "max")


def test_pooling_sees_what_is_there():
  x = jnp.asarray(make_scene().objects, jnp.bfloat16)
  x = jnp.where(MASK[..., None], x, jnp.nan)
  total = np.where(MASK[..., None], np.asarray(x, np.float32), 0).sum(1)
  mask = jnp.array(MASK)
  np.testing.assert_allclose(pool_objects(x, mask, "sum"), total, atol=1e-6)
  mean = total / np.array([[5], [3], [1]])
  np.testing.assert_allclose(pool_objects(x, mask, "mean"), mean, atol=1e-6)
  np.testing.assert_allclose(
    pool_objects(x[:1], None, "mean"), mean[:1], atol=1e-6
  )
