"""Other worlds go into records, and networks learn of them from pixels."""

import json

import numpy as np
import pytest
from places import ROOT

from configs.tiny import get_config
from data_prep.convert_clevr import convert
from data_prep.generate import generate
from data_prep.generation.job import Job
from data_prep.rendering import drawing
from data_prep.rendering.camera import FRAME
from data_prep.world import parse_world, read_world
from rn_jax import train, train_finder
from rn_jax.clevr import ANSWERS_AS_THEY_APPEAR, ATTRIBUTES
from rn_jax.data import records
from rn_jax.data.dataset import load_dataset
from rn_jax.data.vocabulary import (
  VocabularyError,
  attribute_values,
  read_vocabulary,
)
from rn_jax.plots.confusion import draw_confusion
from rn_jax.retrieval.scene_graphs.scene_graph import read_records

WORLD = read_world(ROOT / "examples" / "properties.json")


@pytest.fixture(autouse=True)
def _quick_pictures(monkeypatch):
  def render(scenes, width, height, frame=FRAME):
    seeds = [list(json.dumps(s["objects"]).encode()) for s in scenes]
    return np.stack(
      [
        np.random.default_rng(s).integers(0, 256, (height, width, 3), np.uint8)
        for s in seeds
      ]
    )

  monkeypatch.setattr(drawing, "render", render)


def make(folder, split, num_scenes, world=WORLD, **options):
  job = Job(split, num_scenes, 3, min_visible_pixels=0, world=world)
  return generate(folder, job, workers=1, size=(32, 32), **options)


@pytest.fixture
def clevr(tmp_path):
  for split, number in (("train", 12), ("val", 4)):
    make(tmp_path / "clevr", split, number, images=True)
  return tmp_path / "clevr"


@pytest.fixture
def out(clevr, tmp_path):
  convert(clevr, tmp_path / "out", image_size=32, workers=1)
  return tmp_path / "out"


def test_the_vocabulary_grows_and_objects_are_numbered_with_it(out, clevr):
  words = records.read_vocabulary(out)
  assert words["attributes"] == WORLD.new_values
  new = [v for values in WORLD.new_values.values() for v in values]
  assert set(words["answers"]) == {*ANSWERS_AS_THEY_APPEAR, *new}
  assert {*new, "cones", "capsules", "cylinder"} <= set(words["questions"])
  values = attribute_values(words)
  assert values["shape"] == (*ATTRIBUTES["shape"], "cone", "capsule")
  path = clevr / "scenes" / "CLEVR_train_scenes.json"
  expected = json.loads(path.read_text())["scenes"]
  for scene, true in zip(
    records.read_scenes(out, "train"), expected, strict=True
  ):
    for name in ATTRIBUTES:
      found = [values[name][i] for i in scene["objects"][name]]
      assert found == [o[name] for o in true["objects"]]


def test_drawn_records_are_those_of_the_detour(out, tmp_path):
  direct = tmp_path / "direct"
  for split, number in (("train", 12), ("val", 4)):
    make(tmp_path / "clevr", split, number, records_dir=direct, record_size=32)
  for split in ("train", "val"):
    assert [p.read_bytes() for p in records.shard_paths(direct, split)] == [
      p.read_bytes() for p in records.shard_paths(out, split)
    ]


def test_what_can_only_be_one_is_not_asked_for(tmp_path):
  world = parse_world({**WORLD.to_json(), "shapes": {"capsule": "Capsule"}})
  make(tmp_path, "val", 10, world)
  path = tmp_path / "questions" / "CLEVR_val_questions.json"
  asked = json.loads(path.read_text())["questions"]
  assert len(asked) == 100
  ends = {q["program"][-1]["function"] for q in asked}
  assert {"query_color", "query_size", "query_material"} <= ends
  assert "query_shape" not in ends


def test_numbers_do_not_depend_on_a_splits_own_file(out, clevr, tmp_path):
  content = WORLD.to_json()
  content["shapes"] = {"capsule": "Capsule"}
  content["colors"] = {"black": [20, 20, 20], "red": [173, 35, 35]}
  make(clevr, "test", 2, parse_world(content), images=True)
  make(tmp_path / "b", "val", 3, parse_world(content), images=True)
  convert(
    tmp_path / "b",
    tmp_path / "b_records",
    image_size=32,
    vocabulary=out / "vocabulary.json",
    workers=1,
  )
  values = attribute_values(records.read_vocabulary(out))
  for scene in records.read_scenes(tmp_path / "b_records", "val"):
    names = {values["shape"][i] for i in scene["objects"]["shape"]}
    assert names == {"capsule"}
    names = {values["color"][i] for i in scene["objects"]["color"]}
    assert names <= {"black", "red"}
  convert(clevr, out, ["test"], image_size=32, workers=1)
  assert records.read_split(out, "test")["num_scenes"] == 2


def test_networks_learn_from_pixels_and_states_are_refused(out, tmp_path):
  config = get_config("original_fp")
  config.data.dir = str(out)
  config.train.num_epochs = 1.0
  train.train(config, tmp_path / "run")
  result = json.loads((tmp_path / "run" / "eval_val.json").read_text())
  classes = dict(
    zip(
      result["confusion"]["answers"],
      result["confusion"]["classes"],
      strict=True,
    )
  )
  assert classes["cone"] == "shape"
  assert classes["orange"] == "color"
  assert classes["middling"] == "size"
  draw_confusion(result, "val")
  with pytest.raises(records.RecordError, match=r"shape cone.*from pixels"):
    load_dataset(config.data, "states", "val")
  with pytest.raises(records.RecordError, match=r"finders know .*shape cone"):
    train_finder.load_pictures(config, "val")
  with pytest.raises(records.RecordError, match=r"graphs know .*shape cone"):
    read_records(out, "val")


def test_states_of_a_world_are_not_converted(clevr, tmp_path):
  with pytest.raises(ValueError, match="records of it need images"):
    convert(clevr, tmp_path / "states", images="no", workers=1)


def test_records_of_clevr_know_nothing_of_a_world(clevr, tmp_path):
  job = Job("train", 3, min_visible_pixels=0)
  generate(tmp_path / "own", job, workers=1, size=(32, 32), images=True)
  convert(tmp_path / "own", tmp_path / "own_records", image_size=32, workers=1)
  words = records.read_vocabulary(tmp_path / "own_records")
  assert words.keys() == {"questions", "answers"}
  with pytest.raises(ValueError, match="does not have the value"):
    convert(clevr, tmp_path / "own_records", ["val"], image_size=32, workers=1)


def test_an_answer_of_the_wrong_class_is_refused(clevr, tmp_path):
  path = clevr / "questions" / "CLEVR_train_questions.json"
  content = json.loads(path.read_text())
  for question in content["questions"]:
    if question["program"][-1]["function"] == "query_shape":
      question["answer"] = "orange"
      break
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match="to which 'orange' is no answer"):
    convert(clevr, tmp_path / "out", image_size=32, workers=1)


@pytest.mark.parametrize("attributes", [[], {"shape": "cone"}, {"mood": ["x"]}])
def test_damaged_attributes_are_refused(tmp_path, attributes):
  path = tmp_path / "vocabulary.json"
  tables = {"questions": {"a": 1}, "answers": {"b": 1}}
  path.write_text(json.dumps({**tables, "attributes": attributes}))
  with pytest.raises(VocabularyError, match="its attributes are no lists"):
    read_vocabulary(path)
