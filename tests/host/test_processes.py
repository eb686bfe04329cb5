"""Processes do what one does, and end when they should."""

import os
import signal
import subprocess
import sys
import time

import pytest
from places import ROOT

from rn_jax.host.processes import in_processes


def times(factor, x):
  return os.getpid(), factor * x


def slow_first(x):
  if x == 0:
    time.sleep(0.5)
  return x


def fail_at(folder, bad, x):
  (folder / str(x)).touch()
  if x == bad:
    raise ValueError(f"item {x} is bad")
  time.sleep(0.2)
  return x


def die_at(bad, x):
  if x == bad:
    os.kill(os.getpid(), signal.SIGKILL)
  return x


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_worked_on(workers):
  found = list(
    in_processes(times, range(9), workers, shared=(3,), in_order=True)
  )
  assert [i for i, _ in found] == list(range(9))
  assert [result for _, (_, result) in found] == [3 * i for i in range(9)]
  here = {pid == os.getpid() for _, (pid, _) in found}
  assert here == {workers == 1}


def test_one_item_needs_no_process():
  assert list(in_processes(times, [2], 8, shared=(3,))) == [
    (0, (os.getpid(), 6))
  ]
  assert list(in_processes(times, [], 8, shared=(3,))) == []


def test_results_come_as_they_get_done_or_in_order():
  done = [i for i, _ in in_processes(slow_first, range(4), 2)]
  assert sorted(done) == [0, 1, 2, 3]
  assert done[0] != 0
  ordered = in_processes(slow_first, range(4), 2, in_order=True)
  assert list(ordered) == [(i, i) for i in range(4)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_through_and_the_rest_is_not_begun(tmp_path, workers):
  with pytest.raises(ValueError, match="item 1 is bad"):
    list(in_processes(fail_at, range(40), workers, shared=(tmp_path, 1)))
  assert len(list(tmp_path.iterdir())) < 10


def test_a_process_that_dies_is_an_error_with_a_remedy():
  with pytest.raises(ChildProcessError, match="fewer --workers"):
    list(in_processes(die_at, range(8), 2, shared=(3,)))


PROGRAM = """
import os, signal, sys, time
from absl import flags
# Jobs in the background of a shell inherit that it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {root!r})
from rn_jax.host import cli
from rn_jax.host.processes import in_processes

def work(x):
  os.write(1, f"{{os.getpid()}}\\n".encode())
  time.sleep(100)

def main():
  list(in_processes(work, range(4), 2))

if __name__ == "__main__":
  cli.run(main)
else:  # a worker imports the program
  os.write(1, b"starting\\n")
  time.sleep(0.3)
"""


@pytest.fixture
def program(tmp_path):
  path = tmp_path / "program.py"
  path.write_text(PROGRAM.format(root=str(ROOT)))
  with subprocess.Popen(
    [sys.executable, path],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,  # a group of its own, as in a terminal
  ) as process:
    yield process
    process.kill()


@pytest.mark.parametrize("early", [True, False])
def test_an_interruption_ends_all_without_tracebacks(program, early):
  if early:
    assert program.stdout.readline() == "starting\n"
  else:
    _workers_of(program)
  os.killpg(program.pid, signal.SIGINT)
  _, errors = program.communicate(timeout=30)
  assert program.returncode == 130
  assert errors == "interrupted; the same command takes up what is finished\n"


def test_workers_end_with_a_parent_that_is_killed(program):
  workers = _workers_of(program)
  program.kill()
  program.wait()
  end = time.monotonic() + 20
  while any(map(_is_running, workers)):
    assert time.monotonic() < end
    time.sleep(0.05)


def _workers_of(program):
  lines = [program.stdout.readline() for _ in range(4)]
  return [int(line) for line in lines if line != "starting\n"]


def _is_running(pid):
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  with open(f"/proc/{pid}/stat") as file:
    return file.read().rsplit(")", 1)[1].split()[0] != "Z"
