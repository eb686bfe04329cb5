"""Asking for help is no failure, a wrong flag is one."""

import subprocess
import sys

import pytest
from places import ROOT

from rn_jax.host import cli

COMMANDS = [["launch.py"], ["-m", "data_prep.convert_clevr"]]


def run(*arguments):
  return subprocess.run(
    [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True
  )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_the_command_does(command):
  shown = run(*command, "--help")
  assert shown.returncode == 0, shown.stderr
  assert "flags:" in shown.stdout
  assert not shown.stderr


def test_help_does_not_wait_for_jax():
  program = "import launch, sys; sys.exit('jax' in sys.modules)"
  assert run("-c", program).returncode == 0


def test_a_training_that_diverges_ends_with_a_line(monkeypatch, capsys):
  def diverge():
    raise FloatingPointError("loss is nan at update 3")

  monkeypatch.setattr(cli.app, "run", lambda call, **_: call(["program"]))
  with pytest.raises(SystemExit, match="error: loss is nan at update 3"):
    cli.run(diverge)


@pytest.mark.parametrize(
  ("command", "reason"),
  [
    (COMMANDS[0], "error: Unknown command line flag"),
    (COMMANDS[1], "FATAL Flags parsing error"),
  ],
)
def test_a_wrong_flag_fails(command, reason):
  refused = run(*command, "--image_size=wide", "--unheard_of=1")
  assert refused.returncode == 1
  assert reason in refused.stderr
