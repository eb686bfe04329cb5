"""Paths as people write them, in every command and function."""

import importlib
import inspect
import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags
from places import ROOT

from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.paths import local_path, names_apart, remove_folder

# Flags that name a file or folder, in whatever command.
NAMES = "|".join(
  (
    *("output", "output_dir", "clevr_dir", "records_dir", "vocabulary"),
    *("workdir", "checkpoint", "image", "scenes", "ground_truth", "cache_dir"),
    *("index", "features", "add", "input", "names", "language_dir", "plot"),
    *("compilation_cache", "sheet", "gold_dir", "weights_dir"),
  )
)


@pytest.mark.parametrize(
  "path",
  [
    *("gs://bucket/x", "s3://b", "https://host/x", "file:///x"),
    pathlib.Path("gs://bucket/x"),
  ],
)
def test_addresses_are_refused(path):
  with pytest.raises(ValueError, match="only local files"):
    local_path(path)


def test_home_is_expanded_and_others_stay(monkeypatch):
  monkeypatch.setenv("HOME", "/home/somebody")
  assert local_path("~/x") == "/home/somebody/x"
  for path in ("", "x/~", "a:b", "12:34/x", "C:/x", "x/gs://y"):
    assert local_path(path) == path


def test_flags(monkeypatch):
  monkeypatch.setenv("HOME", "/home/somebody")
  values = flags.FlagValues()
  cli.path_flag("one", None, "One.", flag_values=values)
  cli.paths_flag("some", [], "Some.", flag_values=values)
  cli.multi_path_flag("many", [], "Many.", flag_values=values)
  values(["program"])
  assert (values.one, values.some, values.many) == (None, [], [])
  values(["", "--one=~/a", "--some=~/b,c", "--many=~/d", "--many=e"])
  assert values.one == "/home/somebody/a"
  assert values.some == ["/home/somebody/b", "c"]
  assert values.many == ["/home/somebody/d", "e"]
  for name in ("one", "some", "many"):
    with pytest.raises(flags.IllegalFlagValueError, match=f"--{name}=gs://"):
      values(["", f"--{name}=gs://bucket"])


def test_every_flag_for_a_path_is_one():
  for path in (ROOT / "launch.py", *ROOT.glob("*/**/*.py")):
    text = path.read_text()
    if "tests" not in path.parts:
      plain = rf'flags\.DEFINE_(?:string|multi_string)\(\s*"(?:{NAMES})"'
      assert not re.findall(plain, text), path


def test_a_command_lists_its_path_flags_and_names_the_wrong_one(tmp_path):
  command = [sys.executable, "-m", "rn_jax.plots"]

  def run(flag):
    return subprocess.run(
      [*command, flag],
      cwd=tmp_path,
      env=os.environ | {"PYTHONPATH": str(ROOT)},
      capture_output=True,
      text=True,
    )

  assert "--workdir: Folder of the run." in run("--help").stdout
  done = run("--workdir=gs://bucket/run")
  assert done.returncode == 1
  assert "--workdir=gs://bucket/run" in done.stderr
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("function", "arguments"),
  [
    ("data_prep.convert_clevr:convert", {"output_dir": "ftp://b/x"}),
    ("data_prep.render:render_split", {"clevr_dir": "file:///b/x"}),
    ("rn_jax.checkpoint:load_model", {"path": "https://b/x"}),
    ("rn_jax.checkpoint:Checkpointer", {"directory": "gs://b/x"}),
    ("rn_jax.data.images:read_image", {"file": "https://b/x.png"}),
    ("rn_jax.data.records:read_manifest", {"records_dir": "memory://b/x"}),
    ("rn_jax.plots.run_plots:plot_workdir", {"workdir": "gs://b/x"}),
    ("rn_jax.retrieval.query:load_index", {"path": "gs://b/x"}),
    (
      "rn_jax.retrieval.describe.features:load_features",
      {"path": "https://b/x"},
    ),
    (
      "rn_jax.retrieval.describe.sources:image_source",
      {"arguments": ["https://b/x.png"], "image_size": 8},
    ),
    (
      "rn_jax.retrieval.scene_graphs.scene_graph:read_scene_graphs",
      {"path": "https://b/x"},
    ),
  ],
)
def test_functions_refuse_addresses(function, arguments, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  module, name = function.split(":")
  function = getattr(importlib.import_module(module), name)
  missing = {
    parameter.name: tmp_path / "nowhere"
    for parameter in inspect.signature(function).parameters.values()
    if parameter.default is parameter.empty
  }
  if "split" in missing:
    missing["split"] = "val"
  with pytest.raises(ValueError, match="only local files"):
    function(**missing | arguments)
  assert not list(tmp_path.iterdir())


def test_files_are_written_below_home(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  with replacing("~/x") as temporary:
    temporary.write_text("x")
  assert (tmp_path / "x").read_text() == "x"


def test_a_folder_that_cannot_be_removed_is_an_error(tmp_path):
  (tmp_path / "folder" / "inner").mkdir(parents=True)
  remove_folder(tmp_path / "folder")
  assert not (tmp_path / "folder").exists()
  with pytest.raises(FileNotFoundError):
    remove_folder(tmp_path / "folder")
  remove_folder(tmp_path / "folder", ignore_errors=True)


def test_names_are_what_differs_in_paths():
  def names(*paths):
    return names_apart([pathlib.Path(path) for path in paths])

  assert names("/a/x/run", "/a/y/run") == ["x", "y"]
  assert names("/a/x", "/a/x/run") == ["x", "x/run"]
  assert names("/a/x-0", "/b/x-0") == ["a", "b"]
  assert names("/a/x") == ["x"]
