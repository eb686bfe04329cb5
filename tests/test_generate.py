"""Generated files have CLEVR's layout and depend on their arguments alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from data_prep import chunks, programs
from data_prep import generate as module
from data_prep.generate import generate

QUICK = {"templates": ("zero_hop",), "workers": 1}


def _read(folder, split="train"):
  scenes = folder / "scenes" / f"CLEVR_{split}_scenes.json"
  questions = folder / "questions" / f"CLEVR_{split}_questions.json"
  return json.loads(scenes.read_text()), json.loads(questions.read_text())


def _bytes(folder):
  return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_layout(tmp_path):
  assert generate(tmp_path, "val", 12, 3, workers=1) == tmp_path
  scenes, questions = _read(tmp_path, "val")
  assert scenes["info"]["split"] == questions["info"]["split"] == "val"
  scenes, questions = scenes["scenes"], questions["questions"]
  assert [s["image_index"] for s in scenes] == list(range(12))
  assert scenes[7]["image_filename"] == "CLEVR_val_000007.png"
  assert set(scenes[0]) == {
    "split",
    "image_index",
    "image_filename",
    "objects",
    "relationships",
    "directions",
  }
  assert [q["question_index"] for q in questions] == list(range(120))
  assert [q["image_index"] for q in questions] == [
    i for i in range(12) for _ in range(10)
  ]
  for question in questions:
    assert set(question) == {
      "split",
      "image_index",
      "image_filename",
      "question",
      "answer",
      "program",
      "question_index",
      "question_family_index",
      "template_filename",
    }
    scene = scenes[question["image_index"]]
    assert question["image_filename"] == scene["image_filename"]
    answer = programs.execute(question["program"], programs.scene_table(scene))
    assert answer == question["answer"]


@pytest.mark.parametrize("split", ["test", "testA", "testB"])
def test_test_splits_hide_everything(tmp_path, split):
  generate(tmp_path, split, 3, **QUICK)
  (path,) = (p for p in tmp_path.rglob("*") if p.is_file())
  assert path.name == f"CLEVR_{split}_questions.json"
  for question in json.loads(path.read_text())["questions"]:
    assert set(question) == {
      "split",
      "image_index",
      "image_filename",
      "question",
      "question_index",
    }


def test_any_number_of_workers_makes_the_same(tmp_path):
  size = 2 * chunks.CHUNK + 1
  for workers in (1, 2):
    arguments = {**QUICK, "workers": workers}
    generate(tmp_path / str(workers), "train", size, 1, **arguments)
  assert _bytes(tmp_path / "1") == _bytes(tmp_path / "2")
  scenes, questions = _read(tmp_path / "1")
  assert len(scenes["scenes"]) == size
  indices = [q["question_index"] for q in questions["questions"]]
  assert indices == list(range(len(indices)))


def test_more_scenes_begin_with_the_same(tmp_path):
  few, more = tmp_path / "few", tmp_path / "more"
  generate(few, "train", 20, 1, **QUICK)
  generate(more, "train", 30, 1, **QUICK)
  for a, b in zip(_read(few), _read(more), strict=True):
    key = "scenes" if "scenes" in a else "questions"
    assert b[key][: len(a[key])] == a[key]


def test_seeds_and_splits_differ(tmp_path):
  objects = []
  for split, seed in [("train", 0), ("train", 1), ("val", 0)]:
    generate(tmp_path, split, 5, seed, **QUICK, overwrite=True)
    objects.append([s["objects"] for s in _read(tmp_path, split)[0]["scenes"]])
  assert objects[0] != objects[1] != objects[2] != objects[0]


def test_reuse_and_overwrite(tmp_path, monkeypatch):
  generate(tmp_path, "train", 5, 0, **QUICK)
  before = _bytes(tmp_path)
  with monkeypatch.context() as patch:
    patch.setattr(module, "make_chunks", None)  # would fail if it were used
    generate(tmp_path, "train", 5, 0, **QUICK)
  for change in ({"num_scenes": 6}, {"seed": 1}, {"max_objects": 4}):
    arguments = {"num_scenes": 5, "seed": 0, **QUICK, **change}
    with pytest.raises(FileExistsError, match=r"CLEVR_train.*overwrite"):
      generate(tmp_path, "train", **arguments)
  with pytest.raises(FileExistsError):
    generate(tmp_path, "train", 5, 0, templates=("one_hop",), workers=1)
  assert _bytes(tmp_path) == before
  generate(tmp_path, "train", 6, 0, **QUICK, overwrite=True)
  assert len(_read(tmp_path)[0]["scenes"]) == 6


def test_half_a_pair_is_completed(tmp_path):
  generate(tmp_path, "train", 5, 0, **QUICK)
  before = _bytes(tmp_path)
  (tmp_path / "questions" / "CLEVR_train_questions.json").unlink()
  generate(tmp_path, "train", 5, 0, **QUICK)
  assert _bytes(tmp_path) == before


def test_a_failure_leaves_nothing_new(tmp_path, monkeypatch):
  generate(tmp_path, "train", 5, 0, **QUICK)
  before = _bytes(tmp_path)

  def fail(job, workers):
    yield chunks.make_chunk(job, 0)
    raise RuntimeError("power cut")

  monkeypatch.setattr(module, "make_chunks", fail)
  with pytest.raises(RuntimeError, match="power cut"):
    generate(tmp_path, "train", 300, 0, **QUICK, overwrite=True)
  assert _bytes(tmp_path) == before


def test_options_reach_the_data(tmp_path):
  generate(
    tmp_path,
    "trainA",
    20,
    min_objects=4,
    max_objects=5,
    questions_per_scene=3,
    templates=["one_hop", "comparison"],
    workers=1,
  )
  scenes, questions = _read(tmp_path, "trainA")
  assert {len(s["objects"]) for s in scenes["scenes"]} == {4, 5}
  assert len(questions["questions"]) == 60
  files = {q["template_filename"] for q in questions["questions"]}
  assert files == {"one_hop.json", "comparison.json"}


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"num_scenes": 0}, "num_scenes is 0"),
    ({"questions_per_scene": 0}, "questions_per_scene is 0"),
    ({"split": "trainB"}, "split 'trainB' is none of"),
    ({"min_objects": 5, "max_objects": 4}, "min_objects 5"),
    ({"max_objects": 11}, "max_objects 11"),
    ({"workers": 0}, "workers is 0"),
    ({"templates": ("four_hop",)}, "four_hop"),
    ({"language_dir": "nowhere"}, "nowhere"),
  ],
)
def test_bad_arguments(tmp_path, change, message):
  arguments = {"split": "train", "num_scenes": 3, **QUICK, **change}
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    generate(tmp_path, **arguments)
  assert not list(tmp_path.iterdir())


def test_command_line(tmp_path):
  # The module defines flags as a program only, so others may import it.
  assert not flags.FLAGS.get_flags_for_module("data_prep.generate")
  command = [sys.executable, "-m", "data_prep.generate"]
  command += [f"--output_dir={tmp_path}", "--split=val", "--seed=2"]
  command += ["--templates=zero_hop,one_hop", "--workers=2"]
  root = Path(__file__).parents[1]

  def call(*options):
    return subprocess.run(
      [*command, *options],
      cwd=root,
      env={**os.environ, "PYTHONPATH": str(root)},
      capture_output=True,
      text=True,
    )

  done = call(f"--num_scenes={chunks.CHUNK + 10}")
  assert done.returncode == 0, done.stderr
  assert len(_read(tmp_path, "val")[0]["scenes"]) == chunks.CHUNK + 10
  refused = call("--num_scenes=9")
  assert refused.returncode == 1
  assert refused.stderr.splitlines()[-1].startswith("error: ")
  assert "Traceback" not in refused.stderr
