"""The quickstart's data: made once, and anew when they would be others."""

import json
import shutil

import pytest
from places import ROOT

from data_prep.generation import builtin
from rn_jax.data import records


@pytest.fixture
def prepare(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

  def call(**changes):
    arguments = {
      "num_train_scenes": 40,
      "num_val_scenes": 2,
      "seed": 0,
      "templates": ("zero_hop",),
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


def test_an_interrupted_preparation_is_finished(prepare, monkeypatch):
  with monkeypatch.context() as context:
    context.setattr(
      builtin, "convert", lambda *_, **__: (_ for _ in ()).throw(OSError)
    )
    with pytest.raises(OSError):  # noqa: PT011
      prepare()
  assert records.read_split(prepare(), "val")["num_scenes"] == 2
