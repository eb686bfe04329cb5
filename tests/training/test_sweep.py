"""Sweeps: which members there are, what is kept, and what a failure does."""

import json
import signal
import subprocess
import sys
import time

import pytest
from places import ROOT

from rn_jax.sweep import Member, members, sweep


def test_members_are_counted_seed_by_seed(tmp_path):
  found = members(["configs/a.py", "configs/tiny.py:ir_sd"], 2, tmp_path)
  assert [(m.workdir.name, m.seed) for m in found] == [
    ("a-0", 0),
    ("tiny-ir_sd-0", 0),
    ("a-1", 1),
    ("tiny-ir_sd-1", 1),
  ]
  logs = [m.log.name for m in members(["ir_v1.2.py"], 2, tmp_path)]
  assert logs == ["ir_v1.2-0.log", "ir_v1.2-1.log"]
  with pytest.raises(ValueError, match="share a folder"):
    members(["configs/a.py", "others/a.py"], 1, tmp_path)
  with pytest.raises(ValueError, match="numbered 0 to 1"):
    sweep(["configs/a.py"], 2, tmp_path, index=2)


@pytest.fixture
def command(tmp_path, monkeypatch):
  """Puts a program in launch.py's place; gives what it was called with."""
  calls = tmp_path / "calls"

  def put(code):
    text = (
      "import json, pathlib, sys\n"
      "flags = dict(x[2:].split('=', 1) for x in sys.argv[1:])\n"
      "workdir = pathlib.Path(flags['workdir'])\n"
      "workdir.mkdir(exist_ok=True)\n"
      f"with open({str(calls)!r}, 'a') as file:\n"
      "  file.write(json.dumps(flags) + '\\n')\n"
      f"{code}\n"
      "scores = json.dumps({'question_only_accuracy': 0})\n"
      "(workdir / 'eval_val.json').write_text(scores)\n"
    )
    (tmp_path / "launch.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    return lambda: [json.loads(x) for x in calls.read_text().splitlines()]

  return put


def test_a_failed_member_does_not_stop_the_others_and_is_tried_again(
  command, tmp_path
):
  calls = command(
    "if 'b' in flags['config'] and flags['config.seed'] == '0': 1/0"
  )
  configs = ["a.py", "b.py"]
  failed = sweep(configs, 2, tmp_path / "W", settings=["data.dir=R"])
  assert [m.workdir.name for m in failed] == ["b-0"]
  assert "ZeroDivisionError" in failed[0].log.read_text()
  assert len(calls()) == 4
  assert calls()[-1] == {
    "config": "b.py",
    "workdir": str(tmp_path / "W" / "b-1"),
    "config.seed": "1",
    "config.data.dir": "R",
  }
  command("pass")
  assert not sweep(configs, 2, tmp_path / "W")
  assert [x["workdir"][-3:] for x in calls()[4:]] == ["b-0"]


def test_one_member_by_its_index(command, tmp_path):
  calls = command("pass")
  assert not sweep(["a.py", "b.py"], 2, tmp_path / "W", index=3)
  assert [x["workdir"][-3:] for x in calls()] == ["b-1"]


# Tests that a shell runs in the background, and their children, ignore SIGINT.
_SWEEP = """
import runpy
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("rn_jax.sweep", run_name="__main__")
"""


@pytest.mark.parametrize(
  ("sent", "saves"),
  [
    (signal.SIGTERM, True),
    (signal.SIGTERM, False),  # not while it only starts
    (signal.SIGINT, True),  # of a program, where a terminal would tell both
  ],
)
def test_a_signal_stops_the_sweep(command, tmp_path, sent, saves):
  command(
    "import os, signal, time\n"
    f"if {saves}: signal.signal({sent:d}, lambda *_: sys.exit({128 + sent}))\n"
    "(workdir / 'ready').touch()\n"
    "time.sleep(60)"
  )
  process = subprocess.Popen(
    [
      *(sys.executable, "-c", _SWEEP, "--configs=a.py,b.py"),
      f"--workdir={tmp_path / 'W'}",
    ],
    env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  deadline = time.monotonic() + 60
  while not (tmp_path / "W" / "a-0" / "ready").exists():
    assert time.monotonic() < deadline
    time.sleep(0.05)
  process.send_signal(sent)
  _, errors = process.communicate(timeout=50)  # the member takes longer
  assert process.returncode == 130
  assert "the same command takes up what is finished" in errors
  assert not (tmp_path / "W" / "b-0").exists()


def test_a_member_is_finished_once_it_is_evaluated(tmp_path):
  member = Member("a.py", 0, tmp_path)
  assert not member.finished
  # As `launch.py --mode=evaluate` has it of a run that was interrupted.
  scores: dict = {"accuracy": 0.5}
  (tmp_path / "eval_val.json").write_text(json.dumps(scores))
  assert not member.finished
  scores["question_only_accuracy"] = 0.4
  (tmp_path / "eval_val.json").write_text(json.dumps(scores))
  assert member.finished
