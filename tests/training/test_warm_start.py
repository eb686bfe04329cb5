"""A fresh run takes the question-free layers of a trained one, no others."""

import jax
import numpy as np
import pytest
from small_network import empty_batch, write_network

from rn_jax import train
from rn_jax.checkpoint import CheckpointError, load_model, write_model
from rn_jax.checkpoint_format import flatten
from rn_jax.data.records import read_vocabulary
from rn_jax.retrieval.describe.multilabel import MultilabelNetwork
from rn_jax.steps import make_model
from rn_jax.train_finder import FinderNetwork
from rn_jax.train_pictures import pictures_config
from rn_jax.train_state import TrainState
from rn_jax.warm_start import check as check_warm_start
from rn_jax.warm_start import warm_start


@pytest.fixture
def start(make_config, tmp_path):
  """start(new, trained): what came from where, by name."""

  def run(new, trained, write=write_network):
    new.train.init_from = str(tmp_path / "trained")
    vocabulary = read_vocabulary(new.data.dir)
    write(tmp_path / "trained", trained, seed=1)
    _, fresh = write_network(tmp_path / "fresh", new, seed=2)
    state = TrainState(
      np.int32(0), fresh["params"], fresh.get("batch_stats", {}), ()
    )
    before = flatten(state)
    found = flatten(warm_start(state, new, vocabulary))
    assert found.keys() == before.keys()
    others = load_model(tmp_path / "trained")[0]
    taken = set()
    for name, x in flatten(others).items():
      if name in found and np.array_equal(found[name], x):
        taken.add(name)
        assert not np.array_equal(before[name], x), name
    for name in found.keys() - taken:
      np.testing.assert_array_equal(found[name], before[name], err_msg=name)
    return {"/".join(name.split("/")[:3]) for name in taken}

  return run


def layers(*numbers):
  return {f"params/relation_core/g_{number}" for number in numbers}


CONVOLUTIONS = {
  f"{part}/conv_encoder/{layer}_{index}"
  for index in range(3)
  for part, layer in (
    ("params", "conv"),
    ("params", "batch_norm"),
    ("batch_stats", "batch_norm"),
  )
}


def test_an_avf_rn_takes_the_papers_layers_of_a_2s_rn(make_config, start):
  taken = start(make_config("avf_fp"), make_config("ir_fp"))
  assert taken == CONVOLUTIONS | layers(0, 1)


@pytest.mark.parametrize(
  ("objects", "part"),
  [("regions", "region_features"), ("found", "object_finder")],
)
def test_what_makes_objects_of_cells_is_taken_along(
  make_config, start, objects, part
):
  new, trained = (
    make_config(name, **{"model.objects": objects})
    for name in ("avf_fp", "ir_fp")
  )
  taken = {name for name in start(new, trained) if part in name}
  model = make_model(new, 9, 4)
  shapes = jax.eval_shape(model.init, jax.random.key(0), empty_batch(new))
  assert taken == {f"params/{part}/{name}" for name in shapes["params"][part]}


def test_layers_behind_one_of_another_shape_are_fresh(make_config, start):
  trained = make_config("ir_sd", **{"model.question_layer": 3})
  new = make_config("avf_sd", **{"model.g_units": (32, 48)})
  assert start(new, trained) == layers(0)


def test_of_an_rn_only_the_convolutions_fit(make_config, start):
  assert start(make_config("avf_fp"), make_config("original_fp")) == (
    CONVOLUTIONS
  )


def write_asked_nothing(network_class):
  """Makes what writes a network that makes cells or objects, and no more."""

  def write(path, config, seed):
    network = network_class(config.model)
    images = np.zeros((1, 32, 32, 3), np.uint8)
    variables = network.init(jax.random.key(seed), {"image": images})
    # Fresh statistics and biases are those of any network.
    variables = jax.tree.map(lambda x: x + 0.25, variables)
    write_model(
      path, variables, config=config.to_dict(), vocabulary={"values": []}
    )

  return write


@pytest.mark.parametrize(
  ("network", "objects"),
  [
    (MultilabelNetwork, "cells"),
    (MultilabelNetwork, "regions"),
    (FinderNetwork, "found"),
  ],
)
def test_of_a_network_that_was_asked_nothing_what_makes_objects_is_taken(
  make_config, start, records_dir, network, objects
):
  trained = pictures_config(records_dir, 32, 0, (8, 8, 8))
  new = make_config("original_fp", **{"model.objects": objects})
  taken = start(new, trained, write_asked_nothing(network))
  assert taken >= CONVOLUTIONS
  assert all("object_finder" in name for name in taken - CONVOLUTIONS)
  assert (taken > CONVOLUTIONS) == (objects == "found")


@pytest.mark.parametrize(
  ("network", "channels", "objects", "message"),
  [
    (MultilabelNetwork, (8, 8, 8), "found", "objects=cells; the new network"),
    (FinderNetwork, (8, 8, 8), "cells", "objects=found; the new network"),
    (MultilabelNetwork, (8, 8, 4), "cells", r"of \(8, 8, 4\) channels without"),
  ],
)
def test_a_network_that_was_asked_nothing_and_does_not_fit(
  make_config, start, records_dir, network, channels, objects, message
):
  trained = pictures_config(records_dir, 32, 0, channels)
  new = make_config("original_fp", **{"model.objects": objects})
  with pytest.raises(CheckpointError, match=message):
    start(new, trained, write_asked_nothing(network))


@pytest.mark.parametrize(
  ("new", "trained", "changes", "message"),
  [
    ("avf_sd", "ir_fp", {}, "no Relation Network on states"),
    ("avf_fp", "ir_fp", {"model.conv_channels": (8, 8, 4)}, "convolutions"),
    (
      "avf_fp",
      "ir_fp",
      {
        "model.encoder.context.kind": "gc",
        "model.encoder.context.stages": (1, 2),
      },
      r"of kind 'gc', stages \(1, 2\) .* new network has .* without context",
    ),
    (
      "avf_fp",
      "ir_fp",
      {"model.objects": "regions"},
      "objects=regions; the new network has cells",
    ),
    ("avf_sd", "original_sd", {}, "no layer to start from"),
    ("avf_sd", "ir_sd", {"model.one_hot_objects": False}, "another shape"),
  ],
)
def test_what_does_not_fit_is_an_error(
  make_config, start, new, trained, changes, message
):
  with pytest.raises(CheckpointError, match=message):
    start(make_config(new), make_config(trained, **changes))


def test_what_has_heard_the_question_is_fresh(make_config, start):
  # The shapes alone would let all four layers pass.
  assert start(make_config("ir_sd"), make_config("ir_sd")) == layers(0, 1)


def test_only_a_fresh_run_reads_the_other_network(
  make_config, tmp_path, monkeypatch
):
  states = []

  def save_and_stop(run, state):
    states.append(flatten(state.params["relation_core"]))
    run.checkpointer.save(
      state,
      config=run.config.to_dict(),
      vocabulary=run.dataset.vocabulary,
      data_sha256=run.dataset.sha256,
    )
    raise KeyboardInterrupt

  monkeypatch.setattr(train.Run, "fit", save_and_stop)
  write_network(tmp_path / "trained", make_config("ir_sd"))
  given = flatten(load_model(tmp_path / "trained")[0]["params"])
  config = make_config(
    "avf_sd", **{"train.init_from": str(tmp_path / "trained")}
  )
  with pytest.raises(KeyboardInterrupt):
    train.train(config, tmp_path / "run")
  # Gone: who resumes has no use for it.
  config.train.init_from = str(tmp_path / "nothing")
  with pytest.raises(KeyboardInterrupt):
    train.train(config, tmp_path / "run")
  for state in states:
    for name in ("g_0/kernel", "g_1/bias"):
      expected = given[f"relation_core/{name}"]
      np.testing.assert_array_equal(state[name], expected)
  assert len(states) == 2
  with pytest.raises(CheckpointError, match="no checkpoint here"):
    train.train(config, tmp_path / "anew")
  config.train.init_from = f"{tmp_path / 'trained'}, {tmp_path / 'nothing'},"
  with pytest.raises(CheckpointError, match="nothing: no checkpoint here"):
    check_warm_start(config)
  config.train.init_from = f" {tmp_path / 'trained'},"
  check_warm_start(config)


def test_all_that_fits_is_taken_and_words_keep_their_rows(
  make_config, tmp_path
):
  config = make_config("original_sd")
  _, trained = write_network(tmp_path / "trained", config, seed=1)
  config.train.init_from = str(tmp_path / "trained")
  config.train.init_parts = "all"
  old = read_vocabulary(config.data.dir)
  # The new data number words and answers the other way round, and have more.
  new = {
    part: {
      name: index
      for index, name in enumerate(["new", *reversed(old[part])], start=1)
    }
    for part in old
  }
  model = make_model(config, len(new["questions"]), len(new["answers"]))
  fresh = model.init(jax.random.key(3), empty_batch(config))
  state = warm_start(
    TrainState(np.int32(0), fresh["params"], {}, ()), config, new
  )
  found, given = flatten(state.params), flatten(trained["params"])
  table = found.pop("question_encoder/embedding/embedding")
  theirs = given["question_encoder/embedding/embedding"]
  for word, index in old["questions"].items():
    np.testing.assert_array_equal(
      table[new["questions"][word]], theirs[index], err_msg=word
    )
  np.testing.assert_array_equal(table[0], theirs[0])  # the padding
  np.testing.assert_array_equal(
    table[1],
    flatten(fresh["params"])["question_encoder/embedding/embedding"][1],
  )
  for name in ("kernel", "bias"):
    name = f"answer_network/logits/{name}"
    array = found.pop(name)
    for answer, index in old["answers"].items():
      np.testing.assert_array_equal(
        array[..., new["answers"][answer] - 1], given[name][..., index - 1]
      )
  for name, array in found.items():
    np.testing.assert_array_equal(array, given[name], err_msg=name)
  config.train.init_parts = "some"
  with pytest.raises(ValueError, match="init_parts is 'some'"):
    warm_start(state, config, new)
