"""Logits for no answer share in the softmax, and are never given."""

import numpy as np
from small_network import write_network

from rn_jax.answer import load
from rn_jax.checkpoint import load_model, write_model
from rn_jax.data.spelling import spell, write_scene
from rn_jax.evaluate import predict_split, score


def test_a_spare_logit_takes_its_share_and_is_never_the_answer(
  make_config, tmp_path
):
  write_network(tmp_path / "plain", make_config())
  config = make_config(**{"model.spare_answers": 1})
  model, _ = write_network(tmp_path / "drawn", config)
  assert model.num_answers == 28
  shape = load_model(tmp_path / "drawn")[0]["params"]["answer_network"]
  # The same network, and a logit far above all others.
  variables, meta = load_model(tmp_path / "plain")
  last = variables["params"]["answer_network"]["logits"]
  for name, more in (("kernel", 0.0), ("bias", 90.0)):
    spare = np.full_like(last[name][..., :1], more)
    last[name] = np.concatenate([last[name], spare], -1)
    assert last[name].shape == shape["logits"][name].shape
  write_model(
    tmp_path / "spare",
    variables,
    config=config.to_dict(),
    vocabulary=meta["vocabulary"],
  )
  _, plain = predict_split(tmp_path / "plain", "val")
  dataset, found = predict_split(tmp_path / "spare", "val")
  assert score(dataset, found)["num_examples"] == dataset.num_questions
  np.testing.assert_array_equal(found["answer"], plain["answer"])
  assert (found["probability"] < 1e-6 * plain["probability"]).all()
  assert (found["loss"] > plain["loss"] + 10).all()

  network = load(tmp_path / "spare")
  questions = dataset.questions
  text = spell(
    dataset.vocabulary,
    questions["question"][0],
    questions["question_length"][0],
  )
  scene = write_scene(dataset, questions["scene"][0], tmp_path / "scene")
  given = network.ask(scene, text)
  assert len(given) == 28
  np.testing.assert_allclose(given[0][1], found["probability"][0], 1e-2)
  assert network.why(scene, text).answer == given[0][0]
