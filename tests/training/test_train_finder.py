"""The finder of objects: its lesson, and who goes on from it."""

import jax
import numpy as np
import pytest
from small_network import write_network

from rn_jax import train_finder as program
from rn_jax.checkpoint import load_model
from rn_jax.checkpoint_format import flatten
from rn_jax.clevr import ATTRIBUTES, BEHIND, MAX_OBJECTS, RIGHT
from rn_jax.data import records
from rn_jax.evaluate import load_network
from rn_jax.models.object_finder import Found
from rn_jax.retrieval.describe.extractor import load_extractor
from rn_jax.train_state import TrainState
from rn_jax.warm_start import warm_start


@pytest.fixture
def config(records_dir):
  config = program.make_config(records_dir, image_size=32)
  config.model.conv_channels = (16, 16, 16, 16)
  config.optimizer.learning_rate = 1e-2
  config.train.update(batch_size=10, log_every=40)
  return config


def test_pictures_are_whole_cells(records_dir):
  for size in 100, 4, 0:
    with pytest.raises(ValueError, match=f"image_size is {size}, no multiple"):
      program.make_config(records_dir, image_size=size)


def test_lessons_are_what_the_records_say(config, records_dir):
  scenes = program.load_pictures(config, "val").scenes
  for row, scene in enumerate(records.read_scenes(records_dir, "val")):
    objects = scene["objects"]
    assert (scenes["objects"][row, :, 3] > 0).sum() == len(objects["color"])
    nearest = {}
    for number, (x, y, depth) in enumerate(objects["pixel_coords"]):
      place = int(y / 320 * 4) * 4 + int(x / 480 * 4)
      if place not in nearest or depth < nearest[place][1]:
        nearest[place] = number, depth
    expected = np.full(MAX_OBJECTS, -1)
    for place, (number, _) in nearest.items():
      expected[number] = place
    np.testing.assert_array_equal(scenes["cell"][row], expected)


def test_records_that_do_not_tell_places_are_refused(config, monkeypatch):
  read = records.read_scenes

  def without(*args):
    for scene in read(*args):
      scene["objects"]["pixel_coords"][:] = np.nan
      yield scene

  monkeypatch.setattr(records, "read_scenes", without)
  with pytest.raises(
    records.RecordError, match=r"scene CLEVR_val_0.* pixel_co"
  ):
    program.load_pictures(config, "val")


def test_every_other_picture_is_mirrored_with_what_is_in_it(config):
  scenes = program.load_pictures(config, "train").scenes
  keys = jax.random.split(jax.random.key(0), len(scenes["cell"]))
  mirrored = jax.tree.map(np.asarray, program.mirror(scenes, keys))
  turned = (mirrored["objects"] != scenes["objects"]).any((1, 2))
  assert 0.2 < turned.mean() < 0.8
  for row in range(len(turned)):
    old, new = ({k: x[row] for k, x in s.items()} for s in (scenes, mirrored))
    if not turned[row]:
      for name, x in old.items():
        np.testing.assert_array_equal(new[name], x)
      continue
    np.testing.assert_array_equal(new["image"], old["image"][:, ::-1])
    for number, cell in enumerate(old["cell"]):
      line, column = divmod(cell, 4)
      expected = 4 * line + 3 - column if cell >= 0 else -1
      assert new["cell"][number] == expected
    for axis, sign in ((RIGHT, -1), (BEHIND, 1), ((0, 0, 1), 1)):
      np.testing.assert_allclose(
        new["objects"][:, :3] @ axis,
        sign * (old["objects"][:, :3] @ axis),
        atol=1e-5,
      )
    np.testing.assert_array_equal(new["objects"][:, 3:], old["objects"][:, 3:])


def test_scores_by_hand():
  # Two objects; the first is found, with a wrong size, one unit too far right;
  # the second is not, but something is claimed where nothing is.
  objects = np.zeros((1, MAX_OBJECTS, 7), np.float32)
  objects[0, :2] = [1, 1, 0.7, 1, 1, 1, 2], [2, 2, 0.7, 2, 1, 1, 1]
  cell = np.full((1, MAX_OBJECTS), -1)
  cell[0, :2] = 3, 7
  found = Found(
    np.full((1, 16), -1.0, np.float32),
    np.zeros((1, 16, 3), np.float32),
    {k: np.zeros((1, 16, len(v)), np.float32) for k, v in ATTRIBUTES.items()},
  )
  found.presence[0, [3, 8]] = 1.0
  found.coordinates[0, 3] = 2, 1, 0.7
  found.coordinates[0, 7] = 2, 2, 0
  scenes = {"objects": objects, "cell": cell}
  scores = program.score(found, scenes)
  expected = {
    "accuracy": 0.0,
    "precision": 0.5,
    "counted": 1.0,
    "distance": 0.5,
  }
  assert scores == pytest.approx(expected)
  found.attributes["size"][0, 3, 1] = 1.0
  assert program.score(found, scenes)["accuracy"] == 0.5


def test_learns_by_heart_and_a_relation_network_goes_on(
  config, make_config, tmp_path, monkeypatch
):
  load = program.load_pictures
  monkeypatch.setattr(program, "load_pictures", lambda c, _: load(c, "train"))
  config.train.num_epochs = config.train.eval_every = 120.0
  scores = program.train_finder(config, tmp_path / "finder")
  there = load(config, "train").scenes
  alone = (there["cell"] >= 0).sum() / (there["objects"][..., 3] > 0).sum()
  assert scores["accuracy"] > 0.9 * alone  # of some a nearer one has the cell
  with pytest.raises(ValueError, match="answers no questions"):
    load_network(tmp_path / "finder")
  with pytest.raises(ValueError, match="a finder of objects"):
    load_extractor(tmp_path / "finder")

  states = make_config("original_sd")
  write_network(tmp_path / "states", states, seed=1)
  found = make_config(
    "original_sd",
    **{
      "model.inputs": "pixels",
      "model.objects": "found",
      "model.conv_channels": (16, 16, 16, 16),
      "data.image_size": 32,
      "train.init_parts": "all",
      "train.init_from": f"{tmp_path / 'finder'},{tmp_path / 'states'}",
    },
  )
  _, variables = write_network(tmp_path / "found", found, seed=2)
  state = TrainState(
    np.int32(0), variables["params"], variables["batch_stats"], ()
  )
  vocabulary = records.read_vocabulary(found.data.dir)
  taken = flatten(warm_start(state, found, vocabulary))
  theirs = flatten(load_model(tmp_path / "finder")[0])
  theirs |= flatten(load_model(tmp_path / "states")[0])
  for name, x in theirs.items():
    np.testing.assert_array_equal(taken[name], x, err_msg=name)
  assert {n for n in taken if n.startswith("params")} == {
    n for n in theirs if n.startswith("params")
  }
