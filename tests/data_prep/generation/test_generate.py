"""Generated files have CLEVR's layout and depend on their arguments alone."""

import functools
import json
import os
import subprocess
import sys

import pytest
from absl import flags
from places import ROOT

from data_prep.generate import generate
from data_prep.generation import job as job_module
from data_prep.generation import parts, split_files
from data_prep.generation.job import SCENES_PER_PART, Job, make_part, make_scene
from data_prep.generation.scenes import SPLITS
from data_prep.language import programs
from data_prep.rendering.visibility import visible_pixels
from rn_jax.host.exclusive import BusyError, exclusive


def make(folder, split, num_scenes, seed=0, workers=1, overwrite=False, **more):
  """Generates simple data quickly; `more` are other settings of the job."""
  quick = {"templates": ("zero_hop",), "min_visible_pixels": 0}
  job = Job(split, num_scenes, seed, **(quick | more))
  return generate(folder, job, workers=workers, overwrite=overwrite)


def _read(folder, split="train"):
  scenes = folder / "scenes" / f"CLEVR_{split}_scenes.json"
  questions = folder / "questions" / f"CLEVR_{split}_questions.json"
  return json.loads(scenes.read_text()), json.loads(questions.read_text())


def _bytes(folder):
  return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_layout(tmp_path):
  assert generate(tmp_path, Job("val", 12, 3), workers=1) == tmp_path
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
    "camera",
    "lamps",
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
      "image",
      "question",
      "answer",
      "program",
      "question_index",
      "question_family_index",
      "template_filename",
      "template_index",
    }
    scene = scenes[question["image_index"]]
    assert question["image_filename"] == scene["image_filename"]
    assert f"{question['image']}.png" == scene["image_filename"]
    answer = programs.execute(question["program"], programs.scene_table(scene))
    assert answer == question["answer"]


@pytest.mark.parametrize("split", ["test", "testA", "testB"])
def test_test_splits_hide_everything(tmp_path, split):
  make(tmp_path, split, 3)
  (path,) = (p for p in tmp_path.rglob("*") if p.is_file())
  assert path.name == f"CLEVR_{split}_questions.json"
  for question in json.loads(path.read_text())["questions"]:
    assert set(question) == {
      "split",
      "image_index",
      "image_filename",
      "image",
      "question",
      "question_index",
    }


def test_any_number_of_workers_makes_the_same(tmp_path):
  size = 2 * SCENES_PER_PART + 1
  for workers in (1, 2):
    make(tmp_path / str(workers), "train", size, 1, workers)
  assert _bytes(tmp_path / "1") == _bytes(tmp_path / "2")
  scenes, questions = _read(tmp_path / "1")
  assert len(scenes["scenes"]) == size
  indices = [q["question_index"] for q in questions["questions"]]
  assert indices == list(range(len(indices)))


def test_the_same_without_progress_bars(tmp_path, monkeypatch):
  make(tmp_path / "shown", "train", SCENES_PER_PART + 1)
  # As TQDM_DISABLE=1 does, which tqdm reads when it is imported.
  hidden = functools.partial(split_files.progress_bar, disable=True)
  monkeypatch.setattr(split_files, "progress_bar", hidden)
  make(tmp_path / "hidden", "train", SCENES_PER_PART + 1)
  assert _bytes(tmp_path / "shown") == _bytes(tmp_path / "hidden")


def test_more_scenes_begin_with_the_same(tmp_path):
  few, more = tmp_path / "few", tmp_path / "more"
  make(few, "train", 20, 1)
  make(more, "train", 30, 1)
  for a, b in zip(_read(few), _read(more), strict=True):
    key = "scenes" if "scenes" in a else "questions"
    assert b[key][: len(a[key])] == a[key]


def test_seeds_and_splits_differ(tmp_path):
  objects = []
  for split, seed in [("train", 0), ("train", 1), ("val", 0)]:
    make(tmp_path, split, 5, seed, overwrite=True)
    objects.append([s["objects"] for s in _read(tmp_path, split)[0]["scenes"]])
  assert objects[0] != objects[1] != objects[2] != objects[0]


def test_reuse_and_overwrite(tmp_path, monkeypatch):
  make(tmp_path, "train", 5)
  before = _bytes(tmp_path)
  with monkeypatch.context() as patch:
    patch.setattr(split_files, "make_parts", None)  # would fail if it were used
    make(tmp_path, "train", 5)
    make(tmp_path, "train", 5, overwrite=True)  # they are those already
  for change in (
    {"num_scenes": 6},
    {"seed": 1},
    {"max_objects": 4},
    {"templates": ("one_hop",)},
  ):
    with pytest.raises(FileExistsError, match=r"CLEVR_train.*overwrite"):
      make(tmp_path, "train", **({"num_scenes": 5} | change))
  assert _bytes(tmp_path) == before
  make(tmp_path, "train", 6, overwrite=True)
  assert len(_read(tmp_path)[0]["scenes"]) == 6


def test_files_that_were_laid_out_anew_are_recognised(tmp_path, monkeypatch):
  make(tmp_path, "train", 5)
  scenes, questions = (p for p in sorted(tmp_path.rglob("*.json"))[::-1])
  expected = json.loads(scenes.read_text())["scenes"]
  for path in (scenes, questions):
    content = json.loads(path.read_text())
    text = json.dumps(dict(reversed(content.items())), indent=2)
    path.write_text(text)
  monkeypatch.setattr(split_files, "make_parts", None)  # would fail if used
  make(tmp_path, "train", 5)
  job = Job("train", 5)
  assert list(split_files.read_scenes(job, tmp_path)) == expected
  with pytest.raises(FileExistsError, match="other arguments"):
    make(tmp_path, "train", 6)
  deep = '{"info": ' + '{"a":' * 1_000
  for text in ("[]", "{}", "", '{"info": {"split": ', deep):
    questions.write_text(text)
    with pytest.raises(FileExistsError, match="other arguments"):
      make(tmp_path, "train", 5)


def test_half_a_pair_is_completed(tmp_path):
  make(tmp_path, "train", 5)
  before = _bytes(tmp_path)
  (tmp_path / "questions" / "CLEVR_train_questions.json").unlink()
  make(tmp_path, "train", 5)
  assert _bytes(tmp_path) == before


def _interrupt_at(part):
  def make(job, number):
    if number == part:
      raise KeyboardInterrupt
    return make_part(job, number)

  return make


@pytest.fixture
def small_parts(monkeypatch):
  monkeypatch.setattr(job_module, "SCENES_PER_PART", 5)


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
  whole, folder = tmp_path / "whole", tmp_path / "interrupted"
  make(whole, "train", 18, 1)
  with monkeypatch.context() as patch:
    patch.setattr(parts, "make_part", _interrupt_at(3))
    with pytest.raises(KeyboardInterrupt):
      make(folder, "train", 18, 1)
  # Nothing is there under its name yet, and the lock is free again.
  made = sorted((folder / ".generate-train").iterdir())
  assert [p.name for p in made] == [f"{i:06d}.part" for i in range(3)]
  assert len([p for p in folder.rglob("*") if p.is_file()]) == 3
  # One part is damaged, another has the content of other arguments.
  text = made[0].read_text()
  made[0].write_text(text.replace("red", "tan", 1))
  other = tmp_path / "other"
  with monkeypatch.context() as patch:
    patch.setattr(parts, "make_part", _interrupt_at(3))
    with pytest.raises(KeyboardInterrupt):
      make(other, "train", 18, 2)
  (other / ".generate-train" / made[1].name).replace(made[1])
  # What an earlier version left does no harm.
  (folder / ".generate-train" / "000002.jsonl").write_text("{}")
  again = []

  def count(job, number):
    again.append(number)
    return make_part(job, number)

  monkeypatch.setattr(parts, "make_part", count)
  make(folder, "train", 18, 1)
  assert again == [0, 1, 3]
  assert _bytes(folder) == _bytes(whole)


@pytest.mark.usefixtures("small_parts")
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
  make(tmp_path, "train", 5)
  before = _bytes(tmp_path)
  monkeypatch.setattr(parts, "make_part", _interrupt_at(1))
  with pytest.raises(KeyboardInterrupt):
    make(tmp_path, "train", 12, overwrite=True)
  after = {k: v for k, v in _bytes(tmp_path).items() if ".part" not in k}
  assert after == before


def test_two_runs_do_not_meet_in_a_split(tmp_path):
  with (
    exclusive(tmp_path / ".generate-train.lock"),
    pytest.raises(BusyError, match="another run is writing here"),
  ):
    make(tmp_path, "train", 3)
  make(tmp_path, "train", 3)
  assert not list(tmp_path.glob(".*"))


def test_objects_are_visible(tmp_path):
  folders = {}
  for pixels in (200, 0):
    folders[pixels] = tmp_path / str(pixels)
    options = {"min_visible_pixels": pixels, "min_objects": 8}
    make(folders[pixels], "train", 12, 1, **options)
  fewest = {
    pixels: [visible_pixels(s).min() for s in _read(folder)[0]["scenes"]]
    for pixels, folder in folders.items()
  }
  assert min(fewest[200]) >= 200 > min(fewest[0])


def test_splits_never_share_scenes():
  def places(split, seed=0):
    job = Job(split, 20, seed, max_objects=3, min_visible_pixels=0)
    scenes = [make_scene(job, i) for i in range(20)]
    return {tuple(o["3d_coords"]) for s in scenes for o in s["objects"]}

  seen = [places(split) for split in SPLITS] + [places("train", seed=1)]
  assert len(set.union(*seen)) == sum(map(len, seen))


def test_released_counts_are_more_skewed():
  def share_of_few(count_answers):
    job = Job("train", 250, min_visible_pixels=0, count_answers=count_answers)
    (_, questions), _ = make_part(job, 0)
    answers = [
      q["answer"] for q in questions if q["program"][-1]["function"] == "count"
    ]
    return sum(a == "0" for a in answers) / len(answers)

  assert share_of_few("released") > share_of_few("balanced") + 0.02


def test_options_reach_the_data(tmp_path):
  make(
    tmp_path,
    "trainA",
    20,
    min_objects=4,
    max_objects=5,
    questions_per_scene=3,
    templates=("one_hop", "comparison"),
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
    ({"count_answers": "even"}, "count_answers 'even'"),
    ({"min_visible_pixels": -1}, "min_visible_pixels is -1"),
    ({"size": (32, 0)}, "at least one pixel"),
    ({"vocabulary": "words.json"}, "vocabulary is for records"),
    ({"min_objects": 5, "max_objects": 4}, "min_objects 5"),
    ({"max_objects": 11}, "max_objects 11"),
    ({"workers": 0}, "workers is 0"),
    ({"templates": ("four_hop",)}, "four_hop"),
    ({"language_dir": "nowhere"}, "nowhere"),
  ],
)
def test_bad_arguments(tmp_path, change, message):
  settings = {"split": "train", "num_scenes": 3, "templates": ("zero_hop",)}
  options = {k: change[k] for k in change.keys() & _OPTIONS}
  settings |= {k: change[k] for k in change.keys() - _OPTIONS}
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    generate(tmp_path, Job(**settings), **options)
  assert not list(tmp_path.iterdir())


_OPTIONS = {
  "size",
  "vocabulary",
  "workers",
}  # of generate; others are the job's


def test_command_line(tmp_path):
  # The module defines flags as a program only, so others may import it.
  assert not flags.FLAGS.get_flags_for_module("data_prep.generate")
  command = [sys.executable, "-m", "data_prep.generate"]
  command += [f"--output_dir={tmp_path}", "--split=val", "--cogent=B"]
  command += ["--templates=zero_hop,one_hop", "--seed=2", "--workers=2"]
  root = ROOT

  def call(*options):
    return subprocess.run(
      [*command, *options],
      cwd=root,
      env={**os.environ, "PYTHONPATH": str(root)},
      capture_output=True,
      text=True,
    )

  done = call(f"--num_scenes={SCENES_PER_PART + 10}")
  assert done.returncode == 0, done.stderr
  assert len(_read(tmp_path, "valB")[0]["scenes"]) == SCENES_PER_PART + 10
  for options, message in (
    (["--num_scenes=9"], "was made with other arguments"),
    (["--num_scenes=9", "--split=valA"], "goes with the splits train"),
    (["--num_scenes=9", "--image_size=8", "--image_width=8"], "give either"),
  ):
    refused = call(*options)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("error: ")
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
