"""Scenes are set up as asked, and as in CLEVR unless asked."""

import hashlib
import json
import math
import subprocess
import sys

import pytest
from places import ROOT

from data_prep.conversion.clevr_source import read_scenes
from data_prep.generate import generate
from data_prep.generation.job import Job
from data_prep.generation.scenes import project, sample_scene
from data_prep.generation.staging import Staging, background_of
from data_prep.rendering.camera import POSITION

QUICK = {"templates": ("zero_hop",), "min_visible_pixels": 0, "max_objects": 4}


def test_without_being_asked_nothing_changes():
  scenes = [sample_scene(0, "val", i) for i in range(12)]
  digest = hashlib.sha256(json.dumps(scenes).encode()).hexdigest()
  assert digest.startswith("2b1dc5f30971")  # before there was a choice
  assert set(Job("val", 1).info()["generator"]) == {
    "version",
    "num_scenes",
    "seed",
    "min_objects",
    "max_objects",
    "min_visible_pixels",
    "questions_per_scene",
    "count_answers",
    "language",
  }


def test_the_camera_is_where_it_is_told():
  staging = Staging(camera_height=3.0, camera_distance=12.0, camera_jitter=0.0)
  scene = sample_scene(1, "val", 0, staging=staging)
  x, y, z = scene["camera"]
  assert z == 3
  assert math.hypot(x, y) == pytest.approx(12)
  assert math.atan2(y, x) == pytest.approx(math.atan2(*POSITION[1::-1]))
  still = Staging(camera_jitter=0.0, lamp_jitter=0.0)
  a, b = (sample_scene(1, "val", i, staging=still) for i in range(2))
  assert a["camera"] == b["camera"] == list(POSITION)
  assert a["lamps"] == b["lamps"]
  far = [
    abs(c - p)
    for i in range(30)
    for c, p in zip(
      sample_scene(1, "val", i, staging=Staging(camera_jitter=1.5))["camera"],
      POSITION,
      strict=True,
    )
  ]
  assert 1.3 < max(far) <= 1.5


def test_objects_are_the_same_and_their_pixels_follow():
  usual = sample_scene(1, "val", 0)
  low = sample_scene(1, "val", 0, staging=Staging(camera_height=2.5))
  for a, b in zip(usual["objects"], low["objects"], strict=True):
    assert {**a, "pixel_coords": None} == {**b, "pixel_coords": None}
    column, row, _ = project(b["3d_coords"], tuple(low["camera"]))
    assert b["pixel_coords"][:2] == [round(column), round(row)]
    assert a["pixel_coords"] != b["pixel_coords"]
  assert usual["relationships"] == low["relationships"]


def test_the_setting_is_part_of_what_data_are_made_from(tmp_path):
  staging = Staging(camera_height=4.0, background=(10, 20, 30))
  job = Job("val", 3, staging=staging, **QUICK)
  generator = job.info()["generator"]
  assert generator["camera_height"] == 4
  assert "camera_jitter" not in generator
  generate(tmp_path, job, workers=1)
  path = tmp_path / "scenes" / "CLEVR_val_scenes.json"
  before = path.stat().st_mtime_ns
  assert json.loads(path.read_text())["scenes"][2]["background"] == [10, 20, 30]
  generate(tmp_path, job, workers=1)  # what is there is known again
  assert path.stat().st_mtime_ns == before
  with pytest.raises(FileExistsError, match="other arguments"):
    generate(tmp_path, Job("val", 3, **QUICK), workers=1)
  # Pictures drawn for records know it, too.
  sources = read_scenes(path, hashlib.sha256(), "val", {})
  assert json.loads(sources[0].scene)["background"] == [10, 20, 30]


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"camera_height": 0.5}, r"camera_height is 0.5, must be from 2.0 to 12"),
    ({"camera_distance": 3.0}, "camera_distance is 3.0, must be from 7.5"),
    ({"camera_jitter": -1.0}, "camera_jitter is -1.0, must be from 0.0"),
    ({"lamp_jitter": math.nan}, "lamp_jitter is nan, must be from 0.0"),
    (
      {"background": (1, 2, 256)},
      r"background is \(1, 2, 256\), must be three",
    ),
  ],
)
def test_senseless_settings_are_refused(values, message):
  with pytest.raises(ValueError, match=message):
    Job("val", 1, staging=Staging(**values))


@pytest.mark.parametrize("text", ["red", "1,2", "1,2,-3", "1.5,2,3", ""])
def test_colours_that_are_none_are_refused(text):
  with pytest.raises(ValueError, match="background is"):
    background_of(text)


def test_the_command_passes_it_on(tmp_path):
  common = (f"--output_dir={tmp_path}", "--split=val", "--num_scenes=1")
  common += ("--templates=zero_hop",)

  def run(*arguments):
    return subprocess.run(
      [sys.executable, "-m", "data_prep.generate", *common, *arguments],
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=False,
    )

  assert run("--camera_jitter=0", "--background=1,2,3").returncode == 0
  path = tmp_path / "scenes" / "CLEVR_val_scenes.json"
  generator = json.loads(path.read_text())["info"]["generator"]
  assert generator["camera_jitter"] == 0
  assert generator["background"] == [1, 2, 3]
  assert "camera_height" not in generator
  assert "lamp_jitter" not in generator
  assert run("--background=blue").stderr.strip().startswith("error: background")
