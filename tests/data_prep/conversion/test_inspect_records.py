"""Inspection: right counts, damage found, a picture drawn."""

import json

import pytest
from PIL import Image
from small_clevr import make_questions, make_scene, write_clevr

from data_prep.convert_clevr import convert
from data_prep.inspect_records import inspect_split, report
from rn_jax.data import records
from rn_jax.data.records import RecordError


@pytest.fixture(params=[None, Image.new("RGB", (12, 8), "red")])
def folder(tmp_path, request):
  """Records of seven scenes with 13 questions, without and with images."""
  questions = make_questions(7)[:-1]
  write_clevr(
    tmp_path / "clevr",
    "train",
    [make_scene(i) for i in range(7)],
    questions,
    request.param,
  )
  convert(tmp_path / "clevr", tmp_path / "out", num_shards=2, image_size=0)
  return tmp_path / "out"


def test_counts_and_picture(folder):
  found = inspect_split(folder, "train", num_drawn=4)
  assert found["num_scenes"] == 7
  assert found["num_questions"] == 13
  assert found["objects"] == {2: 7}
  assert found["questions"] == {2: 6, 1: 1}
  assert found["answer"] == {"yes": 6, "0": 3, "1": 2, "2": 2}
  assert found["question_type"] == {"count": 7, "exist": 6}
  assert found["question_length"] == {4: 13}
  assert found["family"] == {"17": 13}
  text = report("train", found)
  for line in (
    "7 scenes, 13 questions",
    "2 (7)",
    "4 to 4, mean 4.0",
    "yes                      6   46.2 %",
  ):
    assert line in text
  assert ("images 12×8" in text) == (found["image"] is not None)
  with Image.open(found["contact_sheet"]) as picture:
    picture.load()
    colors = {color for _, color in picture.getcolors(1 << 20)}
  # The image's red, or the objects' red seen from above.
  red = (173, 35, 35, 255) if found["image"] is None else (255, 0, 0, 255)
  assert red in colors


def test_a_folder_that_takes_no_sheet_is_counted_all_the_same(folder, caplog):
  (folder / "contact_sheet_train.png").mkdir()
  found = inspect_split(folder, "train")
  assert found["contact_sheet"] is None
  assert "No contact sheet" in caplog.text
  assert "contact sheet" not in report("train", found)


def test_what_a_test_split_does_not_have_is_not_counted(tmp_path):
  questions = make_questions(7, "test")
  for question in questions:
    for name in ("answer", "program", "question_family_index"):
      del question[name]
  image = Image.new("RGB", (8, 8))
  root = write_clevr(tmp_path / "clevr", "test", None, questions, image)
  convert(root, tmp_path / "out", vocabulary="clevr", image_size=0)
  text = report("test", inspect_split(tmp_path / "out", "test"))
  for name in (
    *("objects per scene (scenes)", "question families"),
    *("question types", "answers"),
  ):
    assert f"  {name}: not given\n" in text
  assert "unknown" not in text
  assert "questions per scene (scenes): 2 (7)" in text


def test_damage_is_found(folder):
  shard = records.shard_paths(folder, "train")[1]
  whole = shard.read_bytes()
  flipped = bytearray(whole)
  flipped[len(flipped) // 2] ^= 8
  for content in (whole[:-1], flipped):
    shard.write_bytes(content)
    with pytest.raises(RecordError, match=f"{shard.name}: record . at byte"):
      inspect_split(folder, "train")
  # Whole records, but not those that were written.
  records.write_shard(shard, list(records.read_shard(shards(folder)[0])))
  with pytest.raises(RecordError, match=r"its SHA-256 is not the one in the"):
    inspect_split(folder, "train")
  shard.unlink()
  with pytest.raises(RecordError, match=f"{shard.name}: missing"):
    inspect_split(folder, "train")
  with pytest.raises(RecordError, match="'val' is not there"):
    inspect_split(folder, "val")


def shards(folder):
  return records.shard_paths(folder, "train")


def test_records_of_an_earlier_version_are_counted(folder):
  path = folder / "manifest.json"
  manifest = json.loads(path.read_text())
  del manifest["vocabulary_sha256"]
  path.write_text(json.dumps(manifest))
  assert inspect_split(folder, "train")["num_scenes"]


def test_another_vocabulary_is_found(folder):
  path = folder / "vocabulary.json"
  words = json.loads(path.read_text())
  words["answers"]["no"] = 5
  path.write_text(json.dumps(words))
  with pytest.raises(RecordError, match=r"vocabulary.json: its SHA-256"):
    inspect_split(folder, "train")
