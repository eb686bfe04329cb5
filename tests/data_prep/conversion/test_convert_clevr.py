"""Conversion of CLEVR folders: values, variants, resuming, bad input."""

import errno
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from places import ROOT, SHARED
from small_clevr import make_question, make_questions, make_scene, write_clevr

from data_prep import convert_clevr
from data_prep.conversion.scene_record import build_scene
from data_prep.convert_clevr import convert
from data_prep.generation.scenes import sample_scene
from rn_jax.clevr import (
  ANSWER_FUNCTIONS,
  ATTRIBUTES,
  DIRECTIONS,
  QUESTION_TYPES,
  RELATIONS,
  tokenize,
)
from rn_jax.data import records
from rn_jax.data.clevr_json import SourceError
from rn_jax.data.records import RecordError
from rn_jax.host import atomic, parts

GOLD = SHARED / "clevr_gold"


@pytest.fixture
def clevr(tmp_path):
  """A CLEVR folder of states: six train scenes and two val scenes."""
  root = tmp_path / "CLEVR"
  for split, number in (("train", 6), ("val", 2)):
    scenes = [make_scene(i, split) for i in range(number)]
    write_clevr(root, split, scenes, make_questions(number, split))
  return root


def test_conversion(clevr, tmp_path):
  manifest = convert(clevr, tmp_path / "out", num_shards=2)
  assert manifest == records.read_manifest(tmp_path / "out")
  train = manifest["splits"]["train"]
  assert [train[name] for name in ("num_scenes", "num_questions")] == [6, 12]
  assert (train["max_objects"], train["max_question_length"]) == (2, 4)
  assert train["image"] is None
  assert [shard["num_records"] for shard in train["shards"]] == [3, 3]
  assert manifest["splits"]["val"]["num_scenes"] == 2

  words = records.read_vocabulary(tmp_path / "out")
  appeared = ["how", "many", "cubes", "?", "any", "red"]
  assert list(words["questions"])[:6] == appeared
  assert list(words["answers"])[:4] == ["0", "yes", "1", "2"]
  assert [len(table) for table in words.values()] == [82, 28]  # all of CLEVR's

  scenes = list(records.read_scenes(tmp_path / "out", "train"))
  assert [scene["image_index"] for scene in scenes] == list(range(6))
  scene = scenes[4]
  assert scene["image"] is None
  np.testing.assert_array_equal(scene["objects"]["color"], [4, 4])
  np.testing.assert_array_equal(
    scene["objects"]["3d_coords"],
    np.float32([[0.25, -1.5, 0.7], [1.25, -1.5, 0.7]]),
  )
  assert scene["relationships"]["left"] == [[], [0]]
  questions = scene["questions"]
  assert [t.tolist() for t in questions["tokens"]] == [
    [1, 2, 3, 4],
    [5, 6, 3, 4],
  ]
  assert questions["answer"].tolist() == [2, 1]
  assert questions["question_index"].tolist() == [8, 9]
  assert questions["family"] == ["17", "17"]
  assert questions["function"].tolist() == [
    ANSWER_FUNCTIONS.index(f) for f in ("count", "exist")
  ]
  assert questions["question_type"].tolist() == [0, 1]
  assert questions["program_length"].tolist() == [2, 2]


def test_variants_of_the_format(tmp_path):
  """Released files and those of the public generator read the same."""
  template = {"template_filename": "one_hop.json", "question_family_index": 3}
  released = [
    make_question(0, "Any cubes?", "yes", "exist"),
    make_question(0, "How many cubes?", "3", "count"),
  ]
  generated = [
    make_question(0, "Any cubes?", True, "exist", **template),
    make_question(0, "How many cubes?", 3, "count", **template),
  ]
  for question in generated:
    for node in question["program"]:
      node["type"] = node.pop("function")
      node["_output"] = [0]
  read = []
  for name, questions in (("a", released), ("b", generated)):
    root = write_clevr(tmp_path / name, "train", [make_scene(0)], questions)
    convert(root, tmp_path / f"out_{name}")
    (scene,) = records.read_scenes(tmp_path / f"out_{name}", "train")
    read.append(scene["questions"])
  assert read[0].pop("family") == ["17", "17"]
  assert read[1].pop("family") == ["one_hop/3", "one_hop/3"]
  for name in read[0]:
    np.testing.assert_equal(read[0][name], read[1][name])


def convert_questions(folder, questions, scenes=3):
  """Converts train questions; returns all that the records hold of them."""
  root = write_clevr(
    folder, "train", [make_scene(i) for i in range(scenes)], questions
  )
  convert(root, folder / "out", workers=1)
  read = records.read_scenes(folder / "out", "train")
  return [scene["questions"] for scene in read]


def test_indices_of_the_file_are_kept(tmp_path, caplog):
  questions = make_questions(3)
  indices = [3, 4, 70, 149949, 150000, 2**31 - 1]
  for question, index in zip(questions, indices, strict=True):
    question["question_index"] = index
  asked = convert_questions(tmp_path, questions)
  assert [q["question_index"].tolist() for q in asked] == [
    [3, 4],
    [70, 149949],
    [150000, 2**31 - 1],
  ]
  assert not caplog.text


@pytest.mark.parametrize(
  "second", ["7", 3, 2, -1, 1.5, None, True, 2**31, [5], {"a": 5}]
)
def test_indices_that_do_not_count_the_questions(tmp_path, second, caplog):
  questions = make_questions(3)
  for number, question in enumerate(questions):
    question["question_index"] = 3 + number
  questions[1]["question_index"] = second
  asked = convert_questions(tmp_path, questions)
  assert np.concatenate([q["question_index"] for q in asked]).tolist() == [
    *range(6)
  ]
  assert "by their place in the file" in caplog.text


def test_a_mark_of_utf_8_is_skipped(clevr, tmp_path):
  convert(clevr, tmp_path / "plain")
  for path in clevr.glob("*/*.json"):
    path.write_text(path.read_text(), encoding="utf-8-sig")
  convert(clevr, tmp_path / "marked")
  for split in ("train", "val"):
    one, two = (
      [p.read_bytes() for p in records.shard_paths(tmp_path / name, split)]
      for name in ("plain", "marked")
    )
    assert one == two


def test_questions_in_any_order_and_scenes_without(tmp_path):
  questions = make_questions(3)[:4]
  root = write_clevr(
    tmp_path, "train", [make_scene(i) for i in (2, 0, 1)], questions[::-1]
  )
  convert(root, tmp_path / "out")
  scenes = list(records.read_scenes(tmp_path / "out", "train"))
  found = [
    (s["image_index"], s["questions"]["question_index"].tolist())
    for s in scenes
  ]
  assert found == [(2, []), (0, [2, 3]), (1, [0, 1])]


def test_test_split_has_images_and_questions_only(clevr, tmp_path):
  questions = make_questions(2, "test")
  for question in questions:
    for name in ("answer", "program", "question_family_index"):
      del question[name]
  image = Image.new("RGB", (8, 8))
  write_clevr(clevr, "test", None, questions, image)
  for split in ("train", "val"):
    write_clevr(clevr, split, None, make_questions(6, split), image)
  manifest = convert(clevr, tmp_path / "out", ["test", "train"])
  assert manifest["splits"]["test"]["max_objects"] == 0
  scene = list(records.read_scenes(tmp_path / "out", "test"))[1]
  assert scene["image_filename"] == "CLEVR_test_000001.png"
  assert scene["objects"]["3d_coords"].shape == (0, 3)
  assert scene["relationships"]["left"] == []
  for name in ("answer", "function", "question_type"):
    assert scene["questions"][name].tolist() == [-1, -1]
  assert scene["questions"]["family"] == ["", ""]
  assert scene["questions"]["question_index"].tolist() == [2, 3]


def test_unanswered_questions_and_no_scenes_file_are_an_error(clevr, tmp_path):
  (clevr / "scenes" / "CLEVR_val_scenes.json").unlink()
  with pytest.raises(SourceError, match=r"val_scenes.json: no such file"):
    convert(clevr, tmp_path / "out")
  for split in ("train", "val"):
    questions = make_questions(6, split)
    write_clevr(clevr, split, None, questions, Image.new("RGB", (8, 8)))
  with pytest.raises(SourceError, match=r"question 0 has an answer"):
    convert(clevr, tmp_path / "out")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_images(tmp_path, mode):
  random = np.random.default_rng(0)
  pixels = random.integers(0, 256, (20, 30, 3), np.uint8)
  image = Image.fromarray(pixels).convert(mode)
  root = write_clevr(
    tmp_path, "train", [make_scene(0)], make_questions(1), image
  )
  expected = image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
  manifest = convert(root, tmp_path / "small", image_size=16)
  assert manifest["splits"]["train"]["image"] == {
    "height": 16,
    "width": 16,
    "channels": 3,
  }
  (scene,) = records.read_scenes(tmp_path / "small", "train")
  read = Image.open(io.BytesIO(scene["image"]))
  assert (read.format, read.mode) == ("PNG", "RGB")
  np.testing.assert_array_equal(np.asarray(read), np.asarray(expected))

  manifest = convert(root, tmp_path / "full", image_size=0)
  assert manifest["splits"]["train"]["image"]["height"] == 20
  (scene,) = records.read_scenes(tmp_path / "full", "train")
  original = (root / "images/train/CLEVR_train_000000.png").read_bytes()
  assert (scene["image"] == original) == (mode == "RGB")
  np.testing.assert_array_equal(
    np.asarray(Image.open(io.BytesIO(scene["image"]))),
    np.asarray(image.convert("RGB")),
  )


def test_an_image_to_be_turned_is_stored_as_it_is_seen(tmp_path):
  random = np.random.default_rng(0)
  pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
  image = Image.fromarray(pixels)
  root = write_clevr(
    tmp_path, "train", [make_scene(0)], make_questions(1), image
  )
  path = root / "images/train/CLEVR_train_000000.png"
  for orientation, seen in ((1, pixels), (8, np.rot90(pixels))):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    out = tmp_path / str(orientation)
    convert(root, out, image_size=16)
    (scene,) = records.read_scenes(out, "train")
    assert (scene["image"] == path.read_bytes()) == (orientation == 1)
    stored = Image.open(io.BytesIO(scene["image"]))
    np.testing.assert_array_equal(np.asarray(stored), seen)
    assert stored.getexif().get(0x0112, 1) == 1


def test_images_of_several_sizes_are_recorded_as_such(tmp_path):
  root = write_clevr(
    tmp_path,
    "train",
    [make_scene(0), make_scene(1)],
    make_questions(2),
    Image.new("RGB", (8, 8)),
  )
  Image.new("RGB", (9, 8)).save(root / "images/train/CLEVR_train_000001.png")
  manifest = convert(root, tmp_path / "out", image_size=0)
  assert manifest["splits"]["train"]["image"] == {
    "height": None,
    "width": None,
    "channels": 3,
  }


def test_parallel_conversion_gives_the_same_bytes(clevr, tmp_path):
  one = convert(clevr, tmp_path / "one", workers=1, num_shards=3)
  two = convert(clevr, tmp_path / "two", workers=2, num_shards=3)
  assert one == two
  for name in ("train", "val"):
    for path in records.shard_paths(tmp_path / "one", name):
      assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_errors_come_through_from_a_worker(clevr, tmp_path):
  scenes = [make_scene(i) for i in range(6)]
  scenes[4]["objects"][1]["color"] = "pink"
  write_clevr(clevr, "train", scenes, make_questions(6))
  with pytest.raises(SourceError, match=r"scene 4 \(CLEVR_.*pink"):
    convert(clevr, tmp_path / "out", ["train"], workers=2, num_shards=3)


def interrupt_at(index):
  def build(source, image_size, **options):
    if source.image_index == index:
      raise KeyboardInterrupt
    return build_scene(source, image_size, **options)

  return build


def test_interrupted_conversion_goes_on(clevr, tmp_path, monkeypatch):
  out, whole = tmp_path / "out", tmp_path / "whole"
  convert(clevr, whole, workers=1, num_shards=3)
  for index in (3, 5):
    with monkeypatch.context() as patch:
      patch.setattr(convert_clevr, "build_scene", interrupt_at(index))
      with pytest.raises(KeyboardInterrupt):
        convert(clevr, out, workers=1, num_shards=3)
    with pytest.raises(RecordError, match="no finished records folder"):
      list(records.read_scenes(out, "train"))
  first = out / records.shard_name("train", 0, 3)
  kept = first.stat().st_mtime_ns
  manifest = convert(clevr, out, workers=1, num_shards=3)
  assert first.stat().st_mtime_ns == kept
  assert manifest == records.read_manifest(whole)
  assert sorted(p.name for p in out.iterdir()) == sorted(
    p.name for p in whole.iterdir()
  )


def test_damaged_notes_and_shards_are_made_again(clevr, tmp_path, monkeypatch):
  out, whole = tmp_path / "out", tmp_path / "whole"
  convert(clevr, whole, workers=1, num_shards=6)
  with monkeypatch.context() as patch:
    patch.setattr(convert_clevr, "build_scene", interrupt_at(3))
    with pytest.raises(KeyboardInterrupt):
      convert(clevr, out, workers=1, num_shards=6)
  notes = sorted((out / ".convert-train").iterdir())
  assert len(notes) == 3
  notes[0].write_bytes(notes[0].read_bytes()[:-1])
  names = [records.shard_name("train", i, 6) for i in range(3)]
  (out / names[1]).write_bytes(b"damaged")
  kept = (out / names[2]).stat().st_mtime_ns
  convert(clevr, out, workers=1, num_shards=6)
  assert (out / names[2]).stat().st_mtime_ns == kept
  for path in whole.iterdir():
    assert (out / path.name).read_bytes() == path.read_bytes()
  assert not list(out.glob(".*"))


def test_interrupted_conversion_of_other_data_starts_anew(
  clevr, tmp_path, monkeypatch
):
  out = tmp_path / "out"
  with monkeypatch.context() as patch:
    patch.setattr(convert_clevr, "build_scene", interrupt_at(3))
    with pytest.raises(KeyboardInterrupt):
      convert(clevr, out, workers=1, num_shards=3)
  # As a killed process leaves them.
  for name in (records.shard_name("train", 2, 3), ".convert-train.json"):
    (out / f".{name}.{atomic._HOST}-{2**22 + 1}.tmp").write_text("half")
  (out / ".convert-train.json").write_text("notes of an earlier version")
  scenes = [make_scene(i) for i in range(6)]
  scenes[0]["objects"][0]["color"] = "blue"
  write_clevr(clevr, "train", scenes, make_questions(6))
  convert(clevr, out, workers=1, num_shards=2)
  scene = next(records.read_scenes(out, "train"))
  assert ATTRIBUTES["color"][scene["objects"]["color"][0]] == "blue"
  # The shards of three and the notes of the first attempt are gone.
  assert not [p for p in out.iterdir() if "of-00003" in p.name]
  assert not list(out.glob(".*"))


def test_running_again_repairs_damaged_shards_and_keeps_the_rest(
  clevr, tmp_path
):
  out = tmp_path / "out"
  convert(clevr, out, num_shards=2)
  content = {p: p.read_bytes() for p in out.iterdir()}
  one, other = records.shard_paths(out, "train")
  kept = one.stat().st_mtime_ns
  damaged = bytearray(content[other])
  damaged[50] ^= 1
  other.write_bytes(damaged)
  with pytest.raises(RecordError, match="run the same"):
    list(records.read_scenes(out, "train"))
  convert(clevr, out, num_shards=2)
  assert {p: p.read_bytes() for p in out.iterdir()} == content
  assert one.stat().st_mtime_ns == kept


def test_a_split_can_be_added_later(clevr, tmp_path):
  out = tmp_path / "out"
  convert(clevr, out, ["train"])
  words = records.read_vocabulary(out)
  manifest = convert(clevr, out, ["val"])
  assert list(manifest["splits"]) == ["train", "val"]
  assert records.read_vocabulary(out) == words
  together = convert(clevr, tmp_path / "together")
  assert manifest == together


def test_another_split_leaves_a_conversion_that_is_not_done(
  clevr, tmp_path, monkeypatch
):
  scenes = [make_scene(i, "val") for i in range(6)]
  write_clevr(clevr, "val", scenes, make_questions(6, "val"))
  out = tmp_path / "out"
  convert(clevr, out, ["train"], workers=1, num_shards=2)
  with monkeypatch.context() as patch:
    patch.setattr(convert_clevr, "build_scene", interrupt_at(5))
    with pytest.raises(KeyboardInterrupt):
      convert(clevr, out, ["val"], workers=1, num_shards=3)
  mine = [out / ".notes.tmp", out / ".convert-notes.md"]
  for path in mine:
    path.touch()
  left = {path for path in out.iterdir() if "val" in path.name}
  assert len(left) == 3
  convert(clevr, out, ["train"], workers=1, num_shards=2)
  assert left | {*mine} <= {*out.iterdir()}


def test_records_of_others_are_left_alone(clevr, tmp_path):
  theirs = tmp_path / "clevr-train.tfrecord-00000-of-00064"
  theirs.touch()
  with pytest.raises(RecordError, match=r"such as clevr-train\.tfrecord-00000"):
    convert(clevr, tmp_path)
  assert [*tmp_path.glob("*.tfrecord*")] == [theirs]


def test_a_vocabulary_that_was_exchanged_is_not_taken_on(clevr, tmp_path):
  scenes = [make_scene(i, "val") for i in range(6)]
  write_clevr(clevr, "val", scenes, make_questions(6, "val"))
  out = tmp_path / "out"
  convert(clevr, out, ["train"])
  path = out / "vocabulary.json"
  words = json.loads(path.read_text())
  names, numbers = [*words["questions"]], [*words["questions"].values()]
  words["questions"] = dict(zip(names, numbers[::-1], strict=True))
  path.write_text(json.dumps(words))
  with pytest.raises(RecordError, match=r"vocabulary\.json: its SHA-256"):
    convert(clevr, out, ["val"])


def test_a_split_that_does_not_fit_the_folder(clevr, tmp_path):
  out = tmp_path / "out"
  convert(clevr, out, ["train"])
  before = (out / "manifest.json").read_bytes()
  with pytest.raises(RecordError, match=r"'val' with other arguments .*64"):
    convert(clevr, out, ["val"], image_size=64)
  other = tmp_path / "v.json"
  other.write_text('{"questions": {"a": 1}, "answers": {"yes": 1}}')
  with pytest.raises(RecordError, match=r"v.json is not the vocabulary of"):
    convert(clevr, out, ["val"], vocabulary=other)
  write_clevr(
    clevr, "val", None, make_questions(2, "val"), Image.new("RGB", (8, 8))
  )
  with pytest.raises(RecordError, match="'val' with images"):
    convert(clevr, out, ["val"])
  questions = make_questions(6)[::-1]
  write_clevr(clevr, "train", None, questions)
  with pytest.raises(RecordError, match=r"'train' from other files"):
    convert(clevr, out, ["train"], images="no")
  assert (out / "manifest.json").read_bytes() == before


def test_output_folder_of_another_version(clevr, tmp_path):
  (tmp_path / "manifest.json").write_text('{"format_version": 7}')
  with pytest.raises(RecordError, match="version 7"):
    convert(clevr, tmp_path)


def test_vocabulary_is_needed(clevr, tmp_path):
  with pytest.raises(
    SourceError, match=r"no train split to make .*--vocabulary_splits"
  ):
    convert(clevr, tmp_path / "out", ["val"])
  convert(clevr, tmp_path / "train", ["train"])
  words = tmp_path / "train" / "vocabulary.json"
  convert(clevr, tmp_path / "a", ["val"], vocabulary=words)
  (tmp_path / "b").mkdir()
  (tmp_path / "b" / "vocabulary.json").write_bytes(words.read_bytes())
  convert(clevr, tmp_path / "b", ["val"])
  for name in "ab":
    assert (tmp_path / name / "vocabulary.json").read_bytes() == (
      words.read_bytes()
    )


def test_words_that_are_not_in_train(clevr, tmp_path):
  """CLEVR's are known; others, if their split gives words, too."""
  rare = [
    make_question(0, "What is the large cylinder made of?", "rubber", "x"),
    make_question(1, "Any pink cubes?", "no", "exist"),
  ]
  for question in rare:
    question["image_filename"] = question["image_filename"].replace(
      "train", "val"
    )
  write_clevr(clevr, "val", None, rare[:1])
  convert(clevr, tmp_path / "a")
  write_clevr(clevr, "val", None, rare)
  with pytest.raises(SourceError, match="--vocabulary_splits=train,val"):
    convert(clevr, tmp_path / "b")
  for _ in range(2):  # the same command once more changes nothing
    convert(clevr, tmp_path / "b", vocabulary_splits=["train", "val"])
    words = records.read_vocabulary(tmp_path / "b")
    assert list(words["questions"])[3:8] == ["?", "any", "red", "what", "is"]
    assert words["questions"]["pink"] == len(words["questions"])
    (_, asked) = records.read_scenes(tmp_path / "b", "val")
    assert asked["questions"]["tokens"][0][1] == words["questions"]["pink"]
  # Only to look words up in, and without a train split.
  convert(clevr, tmp_path / "c", ["train"], vocabulary_splits=["val", "train"])
  words = records.read_vocabulary(tmp_path / "c")
  assert list(words["questions"])[:2] == ["what", "is"]
  convert(clevr, tmp_path / "d", ["val"], vocabulary_splits=["val"])
  with pytest.raises(ValueError, match="give either"):
    convert(clevr, tmp_path, vocabulary="clevr", vocabulary_splits=["val"])
  with pytest.raises(SourceError, match="no CLEVR_nowhere_questions"):
    convert(clevr, tmp_path, vocabulary_splits=["nowhere"])


def test_a_folder_keeps_its_smaller_vocabulary(clevr, tmp_path):
  """As earlier versions made them, with networks that were trained on them."""
  words = tmp_path / "words.json"
  tables = {
    "questions": {"how": 1, "many": 2, "cubes": 3, "?": 4, "any": 5, "red": 6},
    "answers": {"0": 1, "yes": 2, "1": 3, "2": 4},
  }
  words.write_text(json.dumps(tables))
  convert(clevr, tmp_path / "out", ["train"], vocabulary=words)
  convert(clevr, tmp_path / "out", ["train", "val"])
  assert records.read_vocabulary(tmp_path / "out") == tables


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"question": "Any pink cubes?"}, r"question 1: 'pink' is not in the voc"),
    ({"answer": "many"}, "question 1: 'many' is not one of CLEVR's 28"),
    ({"question": " "}, "question 1 has no text"),
    ({"image_index": 9}, "question 1 is about image_index 9, which .*val_sc"),
    ({"image_index": None}, "question 1 has no image_index"),
    ({"image_filename": "x.png"}, "question 1 .*file x.png, but .*000000.png"),
  ],
  ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_questions(clevr, tmp_path, change, message):
  questions = make_questions(2, "val")
  questions[1].update(change)
  write_clevr(clevr, "val", None, questions)
  with pytest.raises(SourceError, match=f"CLEVR_val_questions.json: {message}"):
    convert(clevr, tmp_path / "out")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"image_index": 0}, "scenes.json: scene 1 repeats 0 of scene 0"),
    (
      {"image_filename": "CLEVR_val_000000.png"},
      "scene 1 repeats 'CLEVR_val_000000.png' of scene 0",
    ),
    ({"objects": [{"color": "red"}]}, r"scene 1 \(CLEVR_val_000001.png\)"),
    ({"relationships": {}}, r"scene 1 \(.*KeyError\('left'\)"),
    (
      {"relationships": {r: [[2], []] for r in RELATIONS}},
      r"scene 1 \(.*left of object 0: \[2\]",
    ),
  ],
)
def test_bad_scenes(clevr, tmp_path, change, message):
  scenes = [make_scene(i, "val") for i in range(2)]
  scenes[1].update(change)
  write_clevr(clevr, "val", scenes, make_questions(1, "val"))
  with pytest.raises(SourceError, match=message):
    convert(clevr, tmp_path / "out")


def test_scenes_need_only_what_networks_read(clevr, tmp_path):
  scene = sample_scene(3, "val", 0)
  less = {k: v for k, v in scene.items() if k != "relationships"}
  keys = ("3d_coords", *ATTRIBUTES)
  less["objects"] = [{k: o[k] for k in keys} for o in scene["objects"]]
  turned = {**less, "image_index": 1, "image_filename": "b.png"}
  opposite = {"left": "right", "right": "left", "front": "behind"}
  opposite["behind"] = "front"
  turned["directions"] = {k: DIRECTIONS[v] for k, v in opposite.items()}
  write_clevr(clevr, "val", [less, turned], make_questions(1, "val"))
  convert(clevr, tmp_path / "out")
  first, second = records.read_scenes(tmp_path / "out", "val")
  assert first["relationships"] == {
    r: scene["relationships"][r] for r in RELATIONS
  }
  assert second["relationships"] == {
    r: scene["relationships"][opposite[r]] for r in RELATIONS
  }
  objects = first["objects"]
  expected = np.float32([o["3d_coords"] for o in scene["objects"]])
  np.testing.assert_array_equal(objects["3d_coords"], expected)
  assert np.isnan(objects["rotation"]).all()
  assert objects["pixel_coords"].shape == expected.shape


@pytest.mark.parametrize(
  "change",
  [{"shape": "cone"}, {"color": "pink"}, {"size": ""}, {}],
)
def test_objects_of_another_kind_are_left_out_beside_an_image(tmp_path, change):
  scenes = [make_scene(i) for i in range(2)]
  thing = scenes[1]["objects"][1]
  if not change:
    del thing["3d_coords"]
  thing.update(change)
  image = Image.new("RGB", (8, 8))
  root = write_clevr(tmp_path, "train", scenes, make_questions(2), image)
  manifest = convert(root, tmp_path / "out", workers=1, image_size=8)
  assert manifest["splits"]["train"]["warnings"] == {
    "unknown_objects": {"count": 1, "first": "CLEVR_train_000001.png"}
  }
  first, second = records.read_scenes(tmp_path / "out", "train")
  assert len(first["objects"]["color"]) == 2
  assert len(second["objects"]["color"]) == 0
  assert second["image"]
  assert second["relationships"]["left"] == []
  with pytest.raises(SourceError, match=r"scene 1 .*not those of CLEVR"):
    convert(root, tmp_path / "states", images="no")
  # What is damaged is an error even so.
  thing["3d_coords"] = "here"
  write_clevr(tmp_path, "train", scenes, make_questions(2))
  with pytest.raises(SourceError, match=r"scene 1 .*not those of CLEVR"):
    convert(root, tmp_path / "damaged", image_size=8)


def test_a_first_conversion_that_was_cut_short_is_gone_on_with(
  clevr, tmp_path, monkeypatch
):
  def fail(*_):
    raise OSError(errno.ENOSPC, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(parts.Parts, "write", fail)
    with pytest.raises(OSError, match="No space left"):
      convert(clevr, tmp_path / "out", images="no", workers=1)
  assert list((tmp_path / "out").glob("*.tfrecord-*"))
  convert(clevr, tmp_path / "out", images="no", workers=1)
  records.read_split(tmp_path / "out", "train")


def test_bad_files(clevr, tmp_path):
  path = clevr / "questions" / "CLEVR_val_questions.json"
  whole = path.read_text()
  for content, message in (
    (whole[:-40], r"broken JSON after 3 questions"),
    ("", "broken JSON after 0 questions"),
    ('{"questions": []}', "holds no questions"),
    ('{"scenes": [{}]}', "holds no questions"),
    ('{"questions": [1]}', "questions 0 is no JSON object"),
  ):
    path.write_text(content)
    with pytest.raises(SourceError, match=f"{path.name}: {message}"):
      convert(clevr, tmp_path / "out")
  with pytest.raises(SourceError, match=r"no CLEVR_nowhere_q.*: train, val$"):
    convert(clevr, tmp_path / "out", ["train", "nowhere"])
  with pytest.raises(SourceError, match=r"no files CLEVR_<split>_questions"):
    convert(tmp_path / "nothing", tmp_path / "out")
  with pytest.raises(SourceError, match=r"no CLEVR_../train_questions"):
    convert(clevr, tmp_path / "out", ["../train"])
  assert not (tmp_path / "out" / "manifest.json").exists()


def test_missing_and_damaged_images(tmp_path):
  random = np.random.default_rng(0)
  pixels = random.integers(0, 256, (20, 30, 3), np.uint8)
  root = write_clevr(
    tmp_path,
    "train",
    [make_scene(0), make_scene(1)],
    make_questions(2),
    Image.fromarray(pixels),
  )
  path = root / "images" / "train" / "CLEVR_train_000001.png"
  whole = path.read_bytes()
  for content in (whole[:-200], whole[:30], b"", b"not an image"):
    path.write_bytes(content)
    with pytest.raises(SourceError, match=rf"{path}: not a readable image"):
      convert(root, tmp_path / "out", image_size=0)
  path.unlink()
  with pytest.raises(SourceError, match=rf"{path}: no such image; 1 of 2 are"):
    convert(root, tmp_path / "out")
  with pytest.raises(SourceError, match=r"\(--skip_missing\), or convert with"):
    convert(root, tmp_path / "out")
  assert convert(root, tmp_path / "states", images="no")["splits"]["train"]
  path.parent.rename(root / "images" / "training")
  with pytest.raises(SourceError, match=r"train: no such folder; add the im"):
    convert(root, tmp_path / "out")


@pytest.mark.parametrize("name", ["rendered", "scenes_only"])
def test_gold_data_against_plain_reading(tmp_path, name):
  words = SHARED / "released_weights" / "vocabulary.json"
  if not GOLD.exists():
    pytest.skip("the gold data are not on this machine")
  convert(GOLD / name, tmp_path, ["val"], vocabulary=words)
  scenes, questions = (
    json.loads((GOLD / name / kind / f"CLEVR_val_{kind}.json").read_text())[
      kind
    ]
    for kind in ("scenes", "questions")
  )
  words = json.loads(words.read_text())
  read = list(records.read_scenes(tmp_path, "val"))
  assert len(read) == len(scenes)
  for scene, found in zip(scenes, read, strict=True):
    assert found["image_filename"] == scene["image_filename"]
    assert found["image_index"] == scene["image_index"]
    assert found["relationships"] == {
      r: scene["relationships"][r] for r in RELATIONS
    }
    for key, values in found["objects"].items():
      expected = [o[key] for o in scene["objects"]]
      if key in ATTRIBUTES:
        values = [ATTRIBUTES[key][v] for v in values]
        assert values == expected
      else:
        np.testing.assert_array_equal(values, np.float32(expected))
    asked = found["questions"]
    for k, number in enumerate(asked["question_index"]):
      question = questions[number]
      assert question["image_index"] == scene["image_index"]
      assert asked["text"][k] == question["question"]
      assert asked["tokens"][k].tolist() == [
        words["questions"][w] for w in tokenize(question["question"])
      ]
      assert asked["answer"][k] + 1 == words["answers"][question["answer"]]
      function = question["program"][-1]["function"]
      assert ANSWER_FUNCTIONS[asked["function"][k]] == function
      kind = tuple(QUESTION_TYPES)[asked["question_type"][k]]
      assert function in QUESTION_TYPES[kind]
      stem = question["template_filename"].removesuffix(".json")
      index = question["question_family_index"]
      assert asked["family"][k] == f"{stem}/{index}"
    if name == "rendered" and scene["image_index"] % 10 == 0:
      image = Image.open(
        GOLD / name / "images" / "val" / scene["image_filename"]
      ).convert("RGB")
      expected = image.resize((128, 128), Image.Resampling.BILINEAR)
      np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(found["image"]))),
        np.asarray(expected),
      )
  numbers = [n for s in read for n in s["questions"]["question_index"]]
  assert sorted(numbers) == list(range(len(questions)))


def test_cogent_splits(tmp_path):
  for split in ("valA", "valB", "trainA"):
    write_clevr(
      tmp_path, split, [make_scene(0, split)], make_questions(1, split)
    )
  manifest = convert(tmp_path, tmp_path / "out")
  assert list(manifest["splits"]) == ["trainA", "valA", "valB"]
  (scene,) = records.read_scenes(tmp_path / "out", "valB")
  assert scene["image_filename"] == "CLEVR_valB_000000.png"


def test_command_line(clevr, tmp_path):
  def run(*arguments):
    return subprocess.run(
      [
        *(sys.executable, "-m", "data_prep.convert_clevr"),
        *(f"--clevr_dir={clevr}", f"--output_dir={tmp_path / 'out'}"),
        *arguments,
      ],
      cwd=ROOT,
      capture_output=True,
      text=True,
    )

  refused = run("--splits=val")
  assert refused.returncode == 1
  assert refused.stderr.startswith("error: there is no train split")
  done = run("--splits=train,val", "--num_shards=2", "--workers=2")
  assert done.returncode == 0, done.stderr
  assert "train: 6 scenes, 12 questions" in done.stdout
  assert len(list(records.read_scenes(tmp_path / "out", "val"))) == 2
