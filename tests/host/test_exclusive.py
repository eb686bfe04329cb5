"""One process at a time, where the file system has locks."""

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest
from places import ROOT

from rn_jax.host.exclusive import BusyError, exclusive

HOLD = """
import sys, time
from pathlib import Path
from rn_jax.host.exclusive import exclusive
with exclusive(Path(sys.argv[1])):
  print("held", flush=True)
  sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
  return tmp_path / "folder" / ".lock"


@contextlib.contextmanager
def held_elsewhere(path):
  """Another process that holds the lock until its input ends."""
  with subprocess.Popen(
    [sys.executable, "-c", HOLD, path],
    cwd=ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
  ) as process:
    assert process.stdout.readline() == b"held\n"
    yield process


def test_the_second_is_refused_and_nothing_stays(path):
  with (
    exclusive(path),
    pytest.raises(BusyError, match="folder: another run is writing here"),
    exclusive(path),
  ):
    pass
  assert not path.exists()
  with exclusive(path):
    assert path.exists()


def test_a_lock_of_a_killed_process_is_free(path):
  with held_elsewhere(path) as process:
    for _ in range(2):
      holder = f"process {process.pid} on "
      with pytest.raises(BusyError, match=holder), exclusive(path):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
  assert path.exists()
  with exclusive(path):
    pass
  assert not path.exists()


def test_the_second_waits_if_it_wants_to(path):
  with held_elsewhere(path) as process:
    let_go = threading.Timer(0.3, process.stdin.close)
    let_go.start()
    with exclusive(path, wait=True):
      let_go.join()
      assert process.wait() == 0
  assert not path.exists()


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize(
  "number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP]
)
def test_without_locks_there_is_a_warning(
  path, monkeypatch, caplog, number, wait
):
  def fail(*_):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(fcntl, "flock", fail)
  # What a killed run left keeps nobody out, either.
  path.parent.mkdir()
  path.touch()
  with exclusive(path, wait=wait), exclusive(path, wait=wait):
    pass
  assert caplog.text.count("the file system has no locks") == 2
  assert not path.exists()


def test_other_errors_are_raised(path, monkeypatch):
  def fail(*_):
    raise OSError(errno.EIO, "broken disk")

  monkeypatch.setattr(fcntl, "flock", fail)
  with pytest.raises(OSError, match="broken disk"), exclusive(path):
    pass


def test_errors_of_the_work_are_its_own(path):
  with pytest.raises(OSError, match="of the work"), exclusive(path):
    raise OSError(errno.ENOSYS, "of the work")
  with exclusive(path):
    pass
