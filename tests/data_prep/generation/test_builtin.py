"""The quickstart's data: made once, and anew when they would be others."""

import json
import shutil
from concurrent import futures

import pytest
from places import ROOT

from data_prep.generate import generate
from data_prep.generation import builtin
from data_prep.generation.job import Job
from rn_jax.data import records

TEMPLATES = ("zero_hop",)


@pytest.fixture
def prepare(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

  def call(**changes):
    arguments = {
      "num_train_scenes": 40,
      "num_val_scenes": 2,
      "seed": 0,
      "templates": TEMPLATES,
      "min_objects": 3,
      "max_objects": 4,
    }
    return builtin.prepare(**(arguments | changes))

  return call


def test_data_are_reused_and_depend_on_all_that_makes_them(
  prepare, monkeypatch, tmp_path
):
  first = prepare()
  assert tmp_path in first.parents
  assert records.read_split(first, "train")["num_scenes"] == 40
  written = (first / records.MANIFEST).stat().st_mtime_ns
  assert prepare() == first
  assert (first / records.MANIFEST).stat().st_mtime_ns == written
  families = {
    family
    for scene in records.read_scenes(first, "train")
    for family in scene["questions"]["family"]
  }
  assert families == {f"zero_hop/{index}" for index in range(6)}
  assert prepare(num_train_scenes=41) != first
  # Templates count by their content, wherever they lie.
  copy = shutil.copytree(ROOT / "data_prep/language", tmp_path / "language")
  assert prepare(language_dir=str(copy)) == first
  synonyms = json.loads((copy / "synonyms.json").read_text())
  (copy / "synonyms.json").write_text(json.dumps(synonyms | {"cube": ["box"]}))
  assert prepare(language_dir=str(copy)) != first
  monkeypatch.setattr(builtin, "VERSION", builtin.VERSION + 1)
  assert prepare() != first


def test_of_two_trainings_one_makes_the_data(prepare, monkeypatch):
  made = []
  monkeypatch.setattr(
    builtin,
    "generate",
    lambda root, job: made.append(job.split) or generate(root, job, workers=1),
  )
  with futures.ThreadPoolExecutor() as pool:
    first, second = pool.map(lambda _: prepare(), range(2))
  assert first == second
  assert made == ["train", "val"]


def test_an_interrupted_preparation_is_finished(prepare, monkeypatch):
  with monkeypatch.context() as context:
    context.setattr(
      builtin, "convert", lambda *_, **__: (_ for _ in ()).throw(OSError)
    )
    with pytest.raises(OSError):  # noqa: PT011
      prepare()
  assert records.read_split(prepare(), "val")["num_scenes"] == 2


def test_pictures_are_those_that_the_command_draws(prepare, tmp_path):
  first = prepare(num_train_scenes=3, image_size=24)
  assert first != prepare(num_train_scenes=3)
  job = Job("val", 2, max_objects=4, min_visible_pixels=0, templates=TEMPLATES)
  folder = tmp_path / "command"
  generate(
    folder,
    job,
    size=(24, 24),
    records_dir=folder / "records",
    record_size=24,
    vocabulary=first / records.VOCABULARY,
  )
  made, drawn = (
    [scene["image"] for scene in records.read_scenes(path, "val")]
    for path in (first, folder / "records")
  )
  assert made == drawn
  assert len(set(made)) == 2


def test_pictures_of_one_split_are_not_taken_for_all(prepare, monkeypatch):
  with monkeypatch.context() as context:

    def fail_at_val(root, job, **sizes):
      if job.split == "val":
        raise OSError
      generate(root, job, **sizes)

    context.setattr(builtin, "generate", fail_at_val)
    with pytest.raises(OSError):  # noqa: PT011
      prepare(num_train_scenes=3, image_size=24)
  made = prepare(num_train_scenes=3, image_size=24)
  assert records.read_split(made, "val")["num_scenes"] == 2
