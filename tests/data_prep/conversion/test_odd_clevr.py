"""CLEVR folders that contradict themselves: refused, or counted and told."""

import json

import pytest
from PIL import Image
from small_clevr import make_question, make_questions, make_scene, write_clevr

from data_prep.conversion import shards
from data_prep.conversion.growing_vocabulary import Vocabulary
from data_prep.convert_clevr import convert
from data_prep.generation.scenes import sample_scene
from data_prep.inspect_records import inspect_split
from rn_jax.clevr import DIRECTIONS
from rn_jax.data import records
from rn_jax.data.clevr_json import SourceError
from rn_jax.data.dataset import load_dataset
from rn_jax.data.records import RecordError
from rn_jax.data.vocabulary import MAX_WORDS
from rn_jax.default_config import get_config


def warnings_of(folder, scenes, questions=None, **options):
  """Converts a train split; returns what the manifest says was odd."""
  questions = questions or make_questions(len(scenes))
  write_clevr(folder, "train", scenes, questions)
  manifest = convert(folder, folder / "out", workers=1, **options)
  assert manifest == records.read_manifest(folder / "out")
  return manifest["splits"]["train"]["warnings"]


def test_whole_data_are_not_odd(tmp_path, caplog):
  scenes = [make_scene(0), *(sample_scene(0, "train", i) for i in (1, 2, 3))]
  assert warnings_of(tmp_path, scenes) == {}
  assert not caplog.text


@pytest.mark.parametrize(
  ("text", "answer", "function", "wanted"),
  [
    ("How many cubes?", "red", "count", False),
    ("Any red cubes?", "3", "exist", False),
    ("Are there more cubes?", "2", "less_than", False),
    ("What color are cubes?", "metal", "query_color", False),
    ("Are cubes the same?", "small", "equal_size", False),
    ("Are cubes the same?", True, "equal_size", True),
    ("What color are cubes?", "red", "query_color", True),
  ],
)
def test_the_answer_is_of_the_kind_asked_for(
  tmp_path, text, answer, function, wanted
):
  questions = make_questions(1)
  questions.append(make_question(0, text, answer, function))
  if wanted:
    assert warnings_of(tmp_path, [make_scene(0)], questions) == {}
    return
  message = f"questions.json: question 2: the program ends with {function}"
  with pytest.raises(SourceError, match=message):
    warnings_of(tmp_path, [make_scene(0)], questions)


def swapped(scene, *names):
  """A scene with two of its lists exchanged."""
  one, two = names
  lists = scene["relationships"]
  return {**scene, "relationships": {**lists, one: lists[two], two: lists[one]}}


@pytest.mark.parametrize("names", [("left", "right"), ("front", "behind")])
def test_relations_against_the_coordinates_are_counted(tmp_path, names, caplog):
  scenes = [make_scene(i) for i in range(4)]
  scenes[1:3] = [swapped(scene, *names) for scene in scenes[1:3]]
  expected = {"count": 2, "first": "CLEVR_train_000001.png"}
  found = warnings_of(tmp_path, scenes, num_shards=3)
  assert found == {"contradicted_relations": expected}
  assert "train: 2 scenes list an object left" in caplog.text
  assert 'first is "CLEVR_train_000001.png"' in caplog.text


def test_relations_follow_the_directions_of_the_scene(tmp_path):
  turned = swapped(make_scene(0), "left", "right")
  turned["directions"] = {
    **DIRECTIONS,
    "left": DIRECTIONS["right"],
    "right": DIRECTIONS["left"],
  }
  assert warnings_of(tmp_path, [turned]) == {}


@pytest.mark.parametrize("bad", ["left", {"left": [1, 2]}, {"front": 3}, [1]])
def test_damaged_directions(tmp_path, bad):
  scene = {**make_scene(0), "directions": bad}
  with pytest.raises(SourceError, match=r"scene 0 .*directions"):
    warnings_of(tmp_path, [scene])


def node(function, *inputs):
  return {"function": function, "inputs": [*inputs], "value_inputs": []}


@pytest.mark.parametrize(
  "program",
  [
    [node("scene"), node("count", 1)],  # itself
    [node("scene", 1), node("count", 0)],  # in a circle
    [node("unique", 1), node("scene"), node("count", 0)],  # a later one
    *([node("scene"), node("count", i)] for i in (-1, 7, 0.0, "0", None)),
    [node("scene"), {"function": "count", "inputs": 0}],
    [node("scene"), {"function": "count", "inputs": None}],
    [3, node("count")],
    [node("scene"), "count"],
    [node("scene"), node("unique", 0)],  # does not end a program
    {"function": ["count"]},
    "count exist",
  ],
  ids=str,
)
def test_programs_without_sense_are_counted(tmp_path, program, caplog):
  questions = make_questions(2)
  for question in questions[2:]:
    question["program"] = program
  found = warnings_of(tmp_path, [make_scene(0), make_scene(1)], questions)
  assert found == {"program": {"count": 2, "first": "question 2"}}
  assert "2 questions have a program" in caplog.text
  _, second = records.read_scenes(tmp_path / "out", "train")
  assert second["questions"]["question_type"].tolist() == [-1, -1]


def test_a_guess_that_the_answer_refutes_is_none(tmp_path):
  questions = make_questions(1)
  questions[0]["program"] = "scene, exist"  # for "how many"
  found = warnings_of(tmp_path, [make_scene(0)], questions)
  assert found == {"program": {"count": 1, "first": "question 0"}}


@pytest.mark.parametrize("kind", ["scenes", "questions"])
@pytest.mark.parametrize("second", ["whole", "[]"])
def test_two_lists_of_one_name(tmp_path, kind, second):
  write_clevr(tmp_path, "train", [make_scene(0)], make_questions(1))
  path = tmp_path / kind / f"CLEVR_train_{kind}.json"
  text = path.read_text()
  again = json.dumps(json.loads(text)[kind]) if second == "whole" else second
  # Other lists, also of the name, do no harm.
  harmless = f'{{"other": [], "info": {{"{kind}": [], "{kind}": []}}, '
  path.write_text(harmless + text[1:])
  convert(tmp_path, tmp_path / "one", workers=1)
  path.write_text(text[:-1] + f', "{kind}": {again}}}')
  with pytest.raises(SourceError, match=f"{path}: holds 2 lists '{kind}'"):
    convert(tmp_path, tmp_path / "two", workers=1)


def test_elements_of_another_split_are_counted(tmp_path):
  scenes = [make_scene(i) for i in range(3)]
  questions = make_questions(3)
  scenes[2]["split"] = "val"
  questions[5]["split"] = None
  del scenes[0]["split"], questions[0]["split"]
  assert warnings_of(tmp_path, scenes, questions) == {
    "other_split": {"count": 2, "first": "scene 2 (CLEVR_train_000002.png)"}
  }


def crowded(index, number):
  scene = make_scene(index)
  scene["objects"] = [
    {**scene["objects"][0], "3d_coords": [0.5 * k, 0.0, 0.35]}
    for k in range(number)
  ]
  scene["relationships"] = None  # then they are derived
  return scene


def test_more_objects_than_state_networks_read(tmp_path, caplog):
  scenes = [make_scene(0), crowded(1, 11), crowded(2, 12), crowded(3, 10)]
  assert warnings_of(tmp_path, scenes) == {
    "many_objects": {"count": 2, "first": "CLEVR_train_000001.png"}
  }
  assert "will refuse them" in caplog.text
  data = get_config().data
  data.dir = str(tmp_path / "out")
  data.cache = False
  message = r"train scene CLEVR_train_000001.png has 11 objects; .*max_objects"
  with pytest.raises(RecordError, match=message):
    load_dataset(data, "states", "train")
  data.max_objects = 12
  assert load_dataset(data, "states", "train").scenes["objects"].shape[1] == 12


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("cubes " * 1_001, "has 1,001 words, more than the 1,000"),
    ("a" * 1_000_000, "has 1,000,000 characters, more than the 10,000"),
    ("cubes " * 250_000, "has 1,500,000 characters, more than"),
  ],
)
def test_questions_without_end(tmp_path, text, message):
  questions = make_questions(1)
  questions[1]["question"] = text
  with pytest.raises(
    SourceError, match=f"questions.json: question 1 {message}"
  ):
    warnings_of(tmp_path, [make_scene(0)], questions)


@pytest.mark.parametrize("limit", ["WORDS", "CHARACTERS"])
def test_records_of_questions_without_end(tmp_path, limit, monkeypatch):
  warnings_of(tmp_path, [make_scene(0)])
  monkeypatch.setattr(records, f"MAX_QUESTION_{limit}", 3)
  message = "train scene CLEVR_train_000000.png: the question 'How many"
  with pytest.raises(RecordError, match=message):
    inspect_split(tmp_path / "out", "train")


def test_words_without_end():
  vocabulary = Vocabulary({f"w{i}": i + 1 for i in range(MAX_WORDS - 1)})
  assert vocabulary.question("one w0") == [MAX_WORDS, 1]
  with pytest.raises(ValueError, match="with 'two' there are more than 32,767"):
    vocabulary.question("two")


def test_warnings_stay_with_the_shards_that_are_kept(tmp_path, caplog):
  scenes = [make_scene(0), swapped(make_scene(1), "left", "right")]
  first = warnings_of(tmp_path, scenes, num_shards=2)
  caplog.clear()
  again = convert(tmp_path, tmp_path / "out", num_shards=2)
  assert again["splits"]["train"]["warnings"] == first
  assert "1 scenes list" in caplog.text
  # Shards of earlier versions say nothing of them.
  old = [dict(entry) for entry in again["splits"]["train"]["shards"]]
  for entry in old:
    del entry["warnings"]
  assert shards.summarise(old, {})["warnings"] == {}


def test_scenes_without_an_image_are_left_out_and_told_of(tmp_path, caplog):
  image, out = Image.new("RGB", (30, 20)), tmp_path / "out"
  for split, number in (("train", 5), ("val", 1)):
    scenes = [make_scene(i, split) for i in range(number)]
    write_clevr(tmp_path, split, scenes, make_questions(number, split), image)
  paths = [
    tmp_path / "images" / "train" / f"CLEVR_train_{i:06d}.png" for i in range(5)
  ]
  paths[1].unlink()
  paths[3].unlink()
  paths[3].symlink_to("nothing")
  splits = convert(tmp_path, out, workers=1, skip_missing=True)["splits"]
  train = splits["train"]
  assert (train["num_scenes"], train["num_questions"]) == (3, 6)
  first = {"count": 2, "first": "CLEVR_train_000001.png"}
  assert train["warnings"] == {"missing_images": first}
  assert splits["val"]["warnings"] == {}
  assert "train: 2 scenes have no image and were left out" in caplog.text
  scenes = list(records.read_scenes(out, "train"))
  assert [scene["image_index"] for scene in scenes] == [0, 2, 4]
  # Numbers of questions are those of the file.
  indices = [scene["questions"]["question_index"].tolist() for scene in scenes]
  assert indices == [[0, 1], [4, 5], [8, 9]]

  data = get_config().data
  data.dir = str(out)
  for split, told in (("val", False), ("train", True)):
    caplog.clear()
    load_dataset(data, "pixels", split)
    assert ("is without 2 scenes" in caplog.text) == told

  # Again is nothing new; with other settings or images it is.
  before = (out / records.MANIFEST).read_bytes()
  convert(tmp_path, out, workers=1, skip_missing=True)
  assert (out / records.MANIFEST).read_bytes() == before
  image.save(paths[1])
  with pytest.raises(RecordError, match="from other files"):
    convert(tmp_path, out, workers=1, skip_missing=True)
  paths[3].unlink()
  image.save(paths[3])
  with pytest.raises(RecordError, match="from other files"):
    convert(tmp_path, out, workers=1)


def test_what_is_whole_stays_when_the_rest_needs_skip_missing(tmp_path):
  image, out = Image.new("RGB", (30, 20)), tmp_path / "out"
  for split in "train", "val":
    scenes = [make_scene(i, split) for i in range(2)]
    write_clevr(tmp_path, split, scenes, make_questions(2, split), image)
  (tmp_path / "images" / "val" / "CLEVR_val_000001.png").unlink()
  convert(tmp_path, out, ["train"], workers=1)
  (shard,) = out.glob("clevr-train*")
  written = shard.stat().st_mtime_ns
  splits = convert(tmp_path, out, workers=1, skip_missing=True)["splits"]
  assert splits["val"]["num_scenes"] == 1
  assert shard.stat().st_mtime_ns == written
  # Earlier versions noted the argument.
  manifest = records.read_manifest(out)
  for entry in manifest["splits"].values():
    entry["source"]["arguments"]["skip_missing"] = True
  (out / records.MANIFEST).write_text(json.dumps(manifest))
  convert(tmp_path, out, workers=1, skip_missing=True)
  assert shard.stat().st_mtime_ns == written


def test_a_scene_of_nothing_is_refused(tmp_path):
  scenes = [make_scene(0), make_scene(1)]
  scenes[1]["objects"] = []
  scenes[1]["relationships"] = None
  with pytest.raises(SourceError, match=r"scene 1 .* has no objects"):
    warnings_of(tmp_path, scenes)


def test_counts_that_clevr_does_not_have_are_refused(tmp_path):
  questions = make_questions(1)
  questions.append(make_question(0, "How many cubes?", "12", "count"))
  with pytest.raises(SourceError, match=r"2: '12' .* counts end at 10"):
    warnings_of(tmp_path, [make_scene(0)], questions)


def test_only_image_files_can_be_left_out(tmp_path):
  image = Image.new("RGB", (30, 20))
  write_clevr(tmp_path, "train", [make_scene(0)], make_questions(1), image)
  (tmp_path / "images" / "train" / "CLEVR_train_000000.png").unlink()
  with pytest.raises(
    SourceError, match=r"1 of 1 are missing: add them, or con"
  ):
    convert(tmp_path, tmp_path / "out", workers=1, skip_missing=True)
  with pytest.raises(ValueError, match="images that are read from files"):
    convert(tmp_path, tmp_path / "out", images="no", skip_missing=True)
