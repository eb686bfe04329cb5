"""Processes that share nothing but files and a network, as hosts do."""

import contextlib
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from places import ROOT

from benchmarks import hosts as runs
from benchmarks import namespaces
from rn_jax import hosts

_WHY_NOT = namespaces.why_not()
_needs_namespaces = pytest.mark.skipif(
  _WHY_NOT is not None, reason=f"no namespaces: {_WHY_NOT}"
)

# Says which network namespace a process of its first host is in.
_PROGRAM = """
import time
from benchmarks import namespaces

with namespaces.hosts(2) as there:
  there[0].start(["sh", "-c", "stat -Lc %i /proc/self/ns/net; exec sleep 600"])
  time.sleep(600)
"""


def network_namespaces():
  """Returns the numbers of all in which there is a process."""
  found = set()
  for file in pathlib.Path("/proc").glob("[0-9]*/ns/net"):
    with contextlib.suppress(OSError):  # it has ended meanwhile
      found.add(file.stat().st_ino)
  return found


@_needs_namespaces
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_hosts_however_the_program_ends(end):
  with subprocess.Popen(
    [sys.executable, "-c", _PROGRAM], cwd=ROOT, stdout=subprocess.PIPE
  ) as program:
    assert program.stdout is not None
    there = int(program.stdout.readline())
    assert there in network_namespaces()
    program.send_signal(end)
    program.wait()
  deadline = time.monotonic() + 20
  while there in network_namespaces():
    assert time.monotonic() < deadline
    time.sleep(0.1)


@_needs_namespaces
def test_a_killed_host_is_noticed_and_the_run_resumes(tmp_path, capsys):
  with namespaces.hosts(2) as there:
    runs.make_records(tmp_path, 32)
    runs.train(there, tmp_path, "whole")
    ended, update = runs.train_with("killed", there, tmp_path)
  assert 0 < ended < 50  # JAX alone takes longer to miss one
  assert update > 0
  whole, killed = (runs.weights(tmp_path / x) for x in ("whole", "killed"))
  for one, other in zip(whole, killed, strict=True):
    np.testing.assert_array_equal(one, other)
  assert "process 0 of 2 can go on no more" in capsys.readouterr().out


@pytest.mark.parametrize(
  "words",
  [
    "UNKNOWN: Gloo all-reduce failed: Connection closed by peer",
    "W/checkpoints: cannot be written (ValueError: UNAVAILABLE: no route)",
  ],
)
def test_a_broken_run_says_what_to_do(monkeypatch, words):
  assert hosts.explain_broken(ValueError(words)) is None  # a single process
  monkeypatch.setattr(jax, "process_count", lambda: 4)
  said = hosts.explain_broken(ValueError(words))
  assert "process 0 of 4 can go on no more" in said
  assert "same command on all hosts resumes" in said
  assert hosts.explain_broken(ValueError("batch_size is 3")) is None


def test_a_name_that_leads_nowhere_is_refused(monkeypatch):
  found = {"me": "127.0.1.1", "host0": "10.0.0.7", "localhost": "127.0.0.1"}
  monkeypatch.setattr(hosts.socket, "gethostname", lambda: "me")
  monkeypatch.setattr(hosts, "_addresses", lambda name: [found[name]])
  with pytest.raises(ValueError, match=r"'me' leads to 127.0.1.1.*/etc/hosts"):
    hosts.check_own_address("host0:1234")
  hosts.check_own_address("localhost:1234")  # all are on this machine
  found["me"] = "10.0.0.8"
  hosts.check_own_address("host0:1234")
