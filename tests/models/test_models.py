"""The networks against plain NumPy, and by what must not matter to them."""

import functools
import importlib
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from configs import tiny
from rn_jax.models import RelationNetwork
from rn_jax.models.blocks import map_blocks
from rn_jax.models.conv_encoder import ConvEncoder, cell_coordinates
from rn_jax.models.question_encoder import QuestionEncoder, reverse_sequences
from rn_jax.models.relation import pairwise
from rn_jax.models.relation.pairwise import Pairwise
from rn_jax.models.scene import Scene
from rn_jax.models.state_encoder import encode_states

NUM_WORDS, NUM_ANSWERS = 82, 28
SIX = ("original_fp", "original_sd", "ir_fp", "ir_sd", "avf_fp", "avf_sd")

# With CLEVR's 82 words and 28 answers. The reference's sd count, 2,059,492,
# holds 16,488 of a convolutional encoder that it never uses.
PARAMETERS = {
  "original_fp": 484_580,
  "original_fp_reference": 484_580,
  "ir_fp": 484_580,
  "ir_fp_reference": 484_580,
  "original_sd": 2_054_268,
  "headline_sd": 350_844,
  "short_sd": 350_844,
  "headline_longer_sd": 350_844,
  "original_sd_reference": 2_059_492 - 16_488,
  "ir_sd": 2_054_268,
  "ir_sd_reference": 2_059_492 - 16_488,
  "avf_fp": 801_508,
  "avf_sd": 5_105_788,
  "found_fp": 533_903,
  "object_relation_fp": 222_340,
}


def make_model(config, **changes):
  config = config.model.to_dict() | {"scenes_per_block": None} | changes
  return RelationNetwork(
    ml_collections.FrozenConfigDict(config), NUM_WORDS, NUM_ANSWERS
  )


def init(model, batch):
  return jax.jit(model.init)(jax.random.key(0), batch)


def make_batch(rng, s=2, k=3, t=7, n=5, size=32):
  length = rng.integers(2, t + 1, (s, k))
  question = rng.integers(1, NUM_WORDS + 1, (s, k, t))
  question[np.arange(t) >= length[..., None]] = 0
  present = rng.integers(2, n, s)
  mask = np.arange(n) < present[:, None]
  objects = np.concatenate(
    [
      rng.uniform(-3, 3, (s, n, 3)),
      rng.integers(1, 9, (s, n, 1)),
      rng.integers(1, 3, (s, n, 1)),
      rng.integers(1, 4, (s, n, 1)),
      rng.integers(1, 3, (s, n, 1)),
    ],
    -1,
  )
  return {
    "question": jnp.asarray(question, jnp.int32),
    "question_length": jnp.asarray(length, jnp.int32),
    "objects": jnp.asarray(objects * mask[..., None], jnp.float32),
    "object_mask": jnp.asarray(mask),
    "image": jnp.asarray(rng.integers(0, 256, (s, size, size, 3)), jnp.uint8),
  }


def randomize(tree, rng):
  """Random values in place of zeros and ones, so that no term can hide."""
  return jax.tree.map(
    lambda x: (
      jnp.asarray(rng.uniform(0.1, 0.5, x.shape), x.dtype) if x.ndim == 1 else x
    ),
    tree,
  )


def test_every_config_has_a_pinned_parameter_count():
  names = {path.stem for path in pathlib.Path("configs").glob("*.py")}
  assert names - {"common", "tiny", "quickstart"} == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count(name):
  config = importlib.import_module(f"configs.{name}").get_config()
  batch = make_batch(np.random.default_rng(0), size=128)
  shapes = jax.eval_shape(
    lambda: make_model(config).init(jax.random.key(0), batch)
  )
  count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
  assert count == PARAMETERS[name]


@pytest.mark.parametrize("question_layer", [0, 1, 2, None])
@pytest.mark.parametrize("aggregation", ["sum", "mean", "weighted"])
@pytest.mark.parametrize("masked", [True, False])
def test_the_pairwise_head_is_a_double_loop_over_pairs(
  question_layer, aggregation, masked
):
  rng = np.random.default_rng(1)
  s, n, f, k, q = 2, 4, 5, 3, 6
  objects = jnp.asarray(rng.normal(size=(s, n, f)), jnp.float32)
  question = jnp.asarray(rng.normal(size=(s, k, q)), jnp.float32)
  mask = jnp.arange(n) < jnp.array([[3], [4]]) if masked else None
  core = Pairwise(
    units=(8, 7, 6),
    dropout_rates=(0.0, 0.0, 0.0),
    question_layer=question_layer,
    aggregation=aggregation,
    one_by_one=False,
    dtype=jnp.float32,
  )
  scene = Scene(objects, mask)
  variables = core.init(jax.random.key(0), scene, question)
  params = randomize(variables["params"], rng)
  result = core.apply({"params": params}, scene, question)

  weights = params.get("position_weights")
  num_results = 1 if question_layer is None else k
  expected = np.zeros((s, num_results, 6))
  for scene in range(s):
    for number in range(num_results):
      total, pairs = 0.0, 0
      for p in range(n):
        for o in range(n):
          if masked and not (mask[scene, p] and mask[scene, o]):
            continue
          x = np.concatenate([objects[scene, o], objects[scene, p]])
          for layer in range(3):
            if layer == question_layer:
              x = np.concatenate([x, question[scene, number]])
            kernel = np.asarray(params[f"g_{layer}"]["kernel"])
            bias = np.asarray(params[f"g_{layer}"]["bias"])
            x = np.maximum(x @ kernel + bias, 0)
          if aggregation == "weighted":
            x = x * float(weights[p * n + o])
          total, pairs = total + x, pairs + 1
      if aggregation == "mean":
        total = total / pairs
      expected[scene, number] = total
  np.testing.assert_allclose(result, expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", [*SIX, "avf_sd weighted"])
def test_blocks_and_all_at_once_agree_in_value_and_gradient(name, monkeypatch):
  # Questions one at a time too, as 4,096 pairs of 64 cells are.
  monkeypatch.setattr(pairwise, "_PAIRS_IN_CACHE", 1)
  name, *weighted = name.split()
  config = tiny.get_config(name)
  if weighted:  # by position, of which a block may have the first ones only
    config.model.aggregation = "weighted"
  batch = make_batch(np.random.default_rng(2), s=3)
  model = make_model(config)
  variables = init(model, batch)
  # What comes before is no part of any block.
  encode = jax.jit(functools.partial(model.apply, method="encode"))
  scene, code = encode(variables, batch)
  keys = jax.random.split(jax.random.key(1), 3)

  def loss(params, encoded, blocks):
    objects, question = encoded
    model = make_model(config, scenes_per_block=blocks)

    def answer(scene, rest):
      question, keys = rest
      logits, _ = model.apply(
        {**variables, "params": params},
        scene,
        question,
        keys=keys,
        method="reason",
      )
      return (), logits

    scenes = scene._replace(objects=objects)
    logits = map_blocks(answer, scenes, (question, keys), blocks)[1]
    return jnp.square(logits).mean()

  encoded = scene.objects, code
  results = [
    jax.jit(jax.value_and_grad(loss, (0, 1)), static_argnums=2)(
      variables["params"], encoded, blocks
    )
    for blocks in (None, 2)  # at once; two and the one left
  ]
  flat = [np.asarray(ravel_pytree(result)[0]) for result in results]
  for other in flat[1:]:
    difference = np.linalg.norm(other - flat[0])
    assert difference < 1e-5 * np.linalg.norm(flat[0])


@pytest.mark.parametrize("name", SIX)
def test_questions_of_a_scene_do_not_see_each_other(name):
  config = tiny.get_config(name)
  batch = make_batch(np.random.default_rng(3))
  model = make_model(config)
  variables = init(model, batch)
  apply = jax.jit(model.apply)
  logits, _ = apply(variables, batch)
  for number in range(3):
    alone = dict(batch)
    for field in ("question", "question_length"):
      alone[field] = batch[field][:, number : number + 1]
    np.testing.assert_allclose(
      apply(variables, alone)[0][:, 0],
      logits[:, number],
      rtol=1e-4,
      atol=1e-5,
    )


@pytest.mark.parametrize("name", SIX)
def test_the_question_matters_to_answers_and_not_to_free_features(name):
  config = tiny.get_config(name)
  rng = np.random.default_rng(4)
  batch = make_batch(rng)
  model = make_model(config)
  variables = init(model, batch)
  other = dict(batch, question=jnp.maximum(batch["question"] - 1, 1))
  (logits, outputs), (logits2, outputs2) = (
    jax.jit(model.apply)(variables, b) for b in (batch, other)
  )
  assert np.abs(logits - logits2).max() > 1e-4
  same = np.array_equal(outputs["relations"], outputs2["relations"])
  assert same == name.startswith("avf")
  np.testing.assert_array_equal(outputs["objects"], outputs2["objects"])


@pytest.mark.parametrize("name", ["original_sd", "ir_sd", "avf_sd"])
def test_the_order_of_objects_does_not_matter(name):
  batch = make_batch(np.random.default_rng(5))
  model = make_model(tiny.get_config(name))
  variables = init(model, batch)
  order = np.array([3, 0, 4, 2, 1])
  shuffled = dict(
    batch,
    objects=batch["objects"][:, order],
    object_mask=batch["object_mask"][:, order],
  )
  np.testing.assert_allclose(
    jax.jit(model.apply)(variables, batch)[0],
    jax.jit(model.apply)(variables, shuffled)[0],
    rtol=1e-4,
    atol=1e-5,
  )


def test_gradients_reach_real_objects_and_no_padding():
  batch = make_batch(np.random.default_rng(6))
  model = make_model(tiny.get_config("original_sd"))
  variables = init(model, batch)

  def total(objects, model):
    return model.apply(variables, {**batch, "objects": objects})[0].sum()

  mask = np.asarray(batch["object_mask"])
  gradient_of = jax.jit(jax.grad(total), static_argnums=1)
  gradient = np.abs(gradient_of(batch["objects"], model)).max(-1)
  assert (gradient[mask] > 0).all()
  assert (gradient[~mask] == 0).all()
  reference = make_model(tiny.get_config("original_sd"), mask_objects=False)
  gradient = np.abs(gradient_of(batch["objects"], reference)).max(-1)
  assert (gradient > 0).all()


def test_padding_is_read_where_it_is_said_to_be_and_not_at_all_without():
  rng = np.random.default_rng(7)
  question = rng.integers(1, NUM_WORDS, (2, 6))
  length = jnp.array([4, 6])
  question[0, 4:] = 0

  def encode(padding, question, reverse=True, bidirectional=False):
    encoder = QuestionEncoder(
      NUM_WORDS, 8, 16, bidirectional, reverse, padding, jnp.float32
    )
    question = jnp.asarray(question)
    params = jax.jit(encoder.init)(jax.random.key(0), question, length)
    return jax.jit(encoder.apply)(params, question, length)

  longer = np.pad(question, ((0, 0), (0, 5)))
  for bidirectional in (False, True):
    both = {"bidirectional": bidirectional}
    absent = encode("absent", question, **both)
    np.testing.assert_allclose(
      absent, encode("absent", longer, **both), atol=1e-6
    )
    assert absent.shape == (2, 32 if bidirectional else 16)
    for padding in ("front", "behind"):
      assert np.abs(encode(padding, longer, **both) - absent).max() > 1e-3
  for reverse in (False, True):
    alike = {"reverse": reverse}
    # Without padding all readings are one.
    found = [
      encode(padding, question, **alike)[1]
      for padding in ("absent", "front", "behind")
    ]
    np.testing.assert_allclose(found[0], found[1])
    np.testing.assert_allclose(found[0], found[2])
    # The words after the padding are those that "absent" ends with.
    front, behind = (
      encode(padding, question, **alike)[0] for padding in ("front", "behind")
    )
    assert np.abs(front - behind).max() > 1e-3
  # The reference reverses the padded row.
  np.testing.assert_allclose(
    encode("front", longer), encode("behind", longer[:, ::-1], reverse=False)
  )
  with pytest.raises(ValueError, match="padding is 'left', none of absent"):
    encode("left", question)


def test_reverse_sequences_by_hand():
  question = jnp.array([[1, 2, 3, 0], [4, 5, 6, 7]])
  np.testing.assert_array_equal(
    reverse_sequences(question, jnp.array([3, 4])),
    [[3, 2, 1, 0], [7, 6, 5, 4]],
  )
  # The reference reverses the padded row: padding comes first.
  np.testing.assert_array_equal(
    reverse_sequences(question, jnp.array([4, 4])),
    [[0, 3, 2, 1], [7, 6, 5, 4]],
  )


def test_states_by_hand():
  row = jnp.array([[0.5, -1.0, 0.7, 8.0, 1.0, 3.0, 2.0], [0.0] * 7])
  encoded = encode_states(row, one_hot=True)
  expected = np.zeros((2, 18))
  expected[0, :3] = [0.5, -1.0, 0.7]
  expected[0, [3 + 7, 11 + 0, 13 + 2, 16 + 1]] = 1.0  # brown rubber ... small
  np.testing.assert_allclose(encoded, expected)
  np.testing.assert_array_equal(encode_states(row, one_hot=False), row)


def test_cells_are_row_major_with_x_by_column_and_y_by_row():
  grid = np.asarray(cell_coordinates(8, 8, jnp.float32))
  np.testing.assert_allclose(grid[0, 0], [-4, -4])
  np.testing.assert_allclose(grid[0, 7], [4, -4])
  np.testing.assert_allclose(grid[7, 0], [-4, 4])
  encoder = ConvEncoder((4, 24), jnp.float32)
  image = jnp.zeros((1, 32, 32, 3), jnp.uint8)
  variables = encoder.init(jax.random.key(0), image, train=False)
  cells = encoder.apply(variables, image, train=False)
  assert cells.shape == (1, 64, 26)
  np.testing.assert_allclose(cells[0, :, 24:], grid.reshape(64, 2))


def test_bfloat16_computes_close_to_float32_and_returns_float32():
  config = tiny.get_config("ir_sd")
  batch = make_batch(np.random.default_rng(8))
  variables = init(make_model(config), batch)
  full = make_model(config).apply(variables, batch)[0]
  half = make_model(config, dtype="bfloat16").apply(variables, batch)[0]
  assert half.dtype == jnp.float32
  assert 0 < np.abs(full - half).max() < 0.05 * np.abs(full).max()


@pytest.mark.parametrize("name", ["original_fp", "ir_sd"])
def test_bfloat16_gradients_are_summed_in_float32(name):
  # Biases and questions are shared by all pairs; their gradients, summed in
  # bfloat16, would be far off.
  config = tiny.get_config(name)
  batch = make_batch(np.random.default_rng(11), n=10, size=64)
  variables = init(make_model(config), batch)

  def gradient(dtype):
    def loss(params):
      model = make_model(config, dtype=dtype)
      logits, _ = model.apply({**variables, "params": params}, batch)
      return jnp.square(logits).mean()

    return jax.jit(jax.grad(loss))(variables["params"])["relation_core"]

  full, half = gradient("float32"), gradient("bfloat16")
  for layer, expected in full.items():
    for part, values in expected.items():
      error = np.linalg.norm(half[layer][part] - values)
      assert error < 0.05 * np.linalg.norm(values), (layer, part)


def test_dropout_is_off_in_evaluation_and_follows_the_keys_in_training():
  config = tiny.get_config("avf_sd")
  batch = make_batch(np.random.default_rng(9))
  model = make_model(config)
  variables = init(model, batch)

  @jax.jit
  def apply(keys):
    return model.apply(variables, batch, train=True, keys=keys)[0]

  def run(seed):
    return apply(jax.random.split(jax.random.key(seed), 2))

  assert np.array_equal(run(1), run(1))
  assert not np.array_equal(run(1), run(2))
  # One scene's key decides about that scene alone.
  keys = jax.random.split(jax.random.key(1), 2)
  keys = keys.at[1].set(jax.random.key(99))
  mixed = apply(keys)
  np.testing.assert_array_equal(mixed[0], run(1)[0])
  assert not np.array_equal(mixed[1], run(1)[1])


def test_wrong_choices_are_named():
  batch = make_batch(np.random.default_rng(10))
  config = tiny.get_config("original_sd")
  for change, words in (
    ({"inputs": "sounds"}, "sounds"),
    ({"aggregation": "median"}, "median"),
    ({"question_layer": 6}, "question_layer is 6"),
  ):
    with pytest.raises(ValueError, match=words):
      make_model(config, **change).init(jax.random.key(0), batch)
