"""Data sets that Beam makes are those of processes, byte by byte."""

import json

import numpy as np
import pytest

from data_prep.annotation import files as annotation_files
from data_prep.conversion import shards
from data_prep.convert_clevr import convert
from data_prep.generate import generate
from data_prep.generation import job as jobs
from data_prep.generation.job import Job
from data_prep.render import render_split
from data_prep.rendering import drawing
from data_prep.rendering.camera import FRAME

pytest.importorskip("apache_beam")

BEAM = {"beam_options": "--runner=DirectRunner"}
HERE = {"workers": 1}
SIZE = (24, 16)


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
  monkeypatch.setattr(jobs, "SCENES_PER_PART", 4)
  monkeypatch.setattr(shards, "SCENES_PER_SHARD", 4)
  monkeypatch.setattr(annotation_files, "_SCENES_PER_PART", 4)
  monkeypatch.setattr(drawing, "_BATCH", 2)
  monkeypatch.setattr(drawing, "_BATCHES_PER_UNIT", 2)
  monkeypatch.setattr(drawing, "render", fake_render)


def fake_render(scenes, width, height, frame=FRAME):
  numbers = [round(1000 * scene["camera"][0]) for scene in scenes]
  rows = np.arange(height)[:, None, None] + np.zeros((height, width, 3))
  return np.stack([((rows + i) % 256).astype(np.uint8) for i in numbers])


def contents(folder):
  """The files of a folder by their names, all of them."""
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob("*")
    if path.is_file()
  }


def test_generated_drawn_and_converted(tmp_path, capsys):
  job = Job("train", 9, 3, templates=("zero_hop",), questions_per_scene=3)
  for name, how in (("here", HERE), ("beam", BEAM)):
    generate(
      tmp_path / name / "clevr",
      job,
      images=True,
      annotations=True,
      size=SIZE,
      records_dir=tmp_path / name / "direct",
      record_size=16,
      **how,
    )
    convert(
      tmp_path / "here" / "clevr",
      tmp_path / name / "records",
      image_size=16,
      annotations=True,
      **how,
    )
  expected = contents(tmp_path / "here")
  found = contents(tmp_path / "beam")
  assert found.keys() == expected.keys()
  for name, content in expected.items():
    assert found[name] == content, name
  assert sum(name.endswith(".png") for name in found) == 9
  assert sum("train.tfrecord" in name for name in found) == 2 * 3
  counted = capsys.readouterr().out
  questions = json.loads(found["clevr/questions/CLEVR_train_questions.json"])
  number = len(questions["questions"])
  assert f"{number} questions, " in counted
  assert " refusals, 9 scenes" in counted
  assert "Beam: 9 pictures\n" in counted
  assert f"Beam: 9 pictures, {number} questions, 9 scenes" in counted


def test_drawn_anew(tmp_path):
  job = Job("val", 5, templates=("zero_hop",), min_visible_pixels=0)
  generate(tmp_path / "clevr", job, workers=1)
  found = []
  for name, how in (("here", {}), ("beam", BEAM)):
    out = tmp_path / name
    render_split(
      tmp_path / "clevr", "val", out, width=SIZE[0], height=SIZE[1], **how
    )
    found.append(contents(out))
  assert found[0] == found[1]
  assert len(found[0]) == 5


def test_a_bad_picture_is_named_as_ever(clevr_dir, tmp_path):
  bad = tmp_path / "images" / "val" / "CLEVR_val_000001.png"
  for kind in ("questions", "scenes", "images/val"):
    (tmp_path / kind).mkdir(parents=True)
    for path in (clevr_dir / kind).glob("CLEVR_val*"):
      (tmp_path / kind / path.name).write_bytes(path.read_bytes())
  bad.write_bytes(bad.read_bytes()[:200])
  messages = []
  for name, how in (("here", HERE), ("beam", BEAM)):
    with pytest.raises(ValueError, match="CLEVR_val_000001") as caught:
      convert(tmp_path, tmp_path / name, vocabulary="clevr", **how)
    messages.append(str(caught.value))
  assert messages[0] == messages[1]
  convert(clevr_dir, tmp_path / "beam", ["val"], vocabulary="clevr", **BEAM)
