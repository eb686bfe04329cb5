"""Which pairs decided: by leaving each out, as brute force would."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread
from small_network import write_network

from rn_jax.answer import ask_command, load
from rn_jax.models.relation.pairwise import Pairwise
from rn_jax.why import Why

QUESTION = "How many small things are there?"


@pytest.fixture
def make_network(make_config, tmp_path):
  """make_network("ir_sd", ...): a network with random weights."""

  def make(name, **changes):
    config = make_config(name, **changes)
    write_network(tmp_path / "network", config)
    return load(tmp_path / "network")

  return make


@pytest.fixture
def scene(clevr_dir):
  path = clevr_dir / "scenes" / "CLEVR_val_scenes.json"
  return json.loads(path.read_text())["scenes"][0]


@pytest.mark.parametrize(
  ("name", "changes"),
  [
    ("original_sd", {}),
    ("ir_sd", {"model.aggregation": "mean"}),
    ("avf_sd", {}),
    ("original_sd", {"model.head.kind": "object_relation_pairwise"}),
    ("original_fp", {"model.conv_channels": (8, 8, 8, 8)}),
    ("found_fp", {"model.aggregation": "mean"}),
  ],
)
def test_contributions_are_what_leaving_a_pair_out_costs(
  make_network, clevr_dir, scene, monkeypatch, name, changes
):
  network = make_network(name, **changes)
  if network.config.model.inputs == "pixels":
    scene = clevr_dir / "images" / "val" / scene["image_filename"]
  if name == "found_fp":  # Random weights see nothing; these see some cells.
    finder = network.variables["params"]["object_finder"]
    finder["output"]["bias"][0] += 0.5
  assert network.relates_pairs
  why = network.why(scene, QUESTION)
  answers = network.ask(scene, QUESTION)
  assert (why.answer, pytest.approx(why.probability)) == answers[0]
  size = len(why.names)
  assert why.contributions.shape == (size, size)
  assert np.abs(why.contributions[:5, :5]).max() > 1e-3  # there are objects

  # By brute force: the network's own answer, where the pair weighs nothing.
  weights = Pairwise._pair_weights
  model = network.without_pairs.__wrapped__.func.__self__
  variables, batch = jax.tree.map(
    jnp.asarray, (network.variables, network._batch(scene, QUESTION))
  )

  @jax.jit
  def answer(left_out):
    def without(self, mask, num_objects):
      found = weights(self, mask, num_objects)
      return left_out if found is None else found * left_out

    with monkeypatch.context() as patch:
      patch.setattr(Pairwise, "_pair_weights", without)
      return model.apply(variables, batch)[0][0, 0]

  best = network.vocabulary["answers"][why.answer] - 1
  rng = np.random.default_rng(0)
  for i, j in [(0, 0), *rng.integers(0, min(size, 5), (3, 2))]:
    left_out = np.ones((size, size), np.float32)
    left_out[j, i] = 0.0  # entry [p, q] is for [o_q ; o_p]
    logits = answer(jnp.asarray(left_out))
    cost = np.log(why.probability) - jax.nn.log_softmax(logits)[best]
    np.testing.assert_allclose(why.contributions[i, j], cost, atol=1e-4)


def test_absent_objects_contribute_nothing_and_names_are_the_scenes(
  make_network, scene
):
  why = make_network("original_sd").why(scene, QUESTION)
  number = len(scene["objects"])
  np.testing.assert_allclose(why.contributions[number:], 0.0, atol=1e-5)
  np.testing.assert_allclose(why.contributions[:, number:], 0.0, atol=1e-5)
  assert why.names == [
    f"{o['size']} {o['color']} {o['material']} {o['shape']}"
    for o in scene["objects"]
  ] + ["nothing"] * (10 - number)


def test_the_strongest_pairs_in_words():
  contributions = np.array([[0.5, -2.0], [0.001, 0.0]])
  why = Why("yes", 0.9, contributions, ["a", "b"], np.zeros((2, 4)))
  assert why.strongest() == [(0, 1), (0, 0)]
  assert why.lines() == ["  -2.00  a - b", "  +0.50  a (alone)"]
  assert why.strongest(1) == [(0, 1)]
  nothing = why._replace(contributions=contributions * 0)
  assert nothing.lines()[0].startswith("none alone")


@pytest.mark.parametrize("name", ["original_sd", "original_fp", "found_fp"])
def test_the_command_draws_the_pairs(
  make_config, clevr_dir, scene, tmp_path, name
):
  config = make_config(name)
  write_network(tmp_path / "network", config)
  picture = clevr_dir / "images" / "val" / scene["image_filename"]
  (tmp_path / "scene.json").write_text(json.dumps(scene))
  asked = picture if name.endswith("fp") else tmp_path / "scene.json"
  text = ask_command(
    tmp_path / "network", asked, QUESTION, tmp_path / "why.png"
  )
  assert "The pairs that decided:" in text
  plain = imread(tmp_path / "why.png")
  assert plain.shape[0] > 300
  if name == "original_sd":
    ask_command(
      tmp_path / "network", asked, QUESTION, tmp_path / "on.png", picture
    )
    assert not np.array_equal(imread(tmp_path / "on.png"), plain)


def test_a_network_without_pairs_says_so(make_network, scene):
  network = make_network(
    "original_sd", **{"model.head.kind": "object_relation"}
  )
  assert not network.relates_pairs
  with pytest.raises(ValueError, match="without pairs"):
    network.why(scene, QUESTION)
