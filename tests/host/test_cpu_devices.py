"""A CPU counts as several devices where that is asked for."""

import os
import subprocess
import sys

import pytest
from places import ROOT

COUNT = """
import os
import sys
number, scenes, *cores = sys.argv[1:]
os.sched_setaffinity(0, map(int, cores))
if number == "macOS":  # which has no such functions
  del os.sched_getaffinity
  number = "auto"
import jax
from rn_jax.host.cpu_devices import divide_cpu
divide_cpu(number if number == "auto" else int(number), int(scenes))
print(jax.device_count())
"""


@pytest.mark.parametrize(
  ("number", "scenes", "xla", "expected"),
  [
    ("auto", 64, "", 2),
    ("auto", 63, "", 1),  # two would not divide them
    ("3", 64, "", 3),
    ("macOS", 1, "", 1),
    ("auto", 64, "--xla_force_host_platform_device_count=4", 4),
  ],
)
def test_devices_of_a_cpu(number, scenes, xla, expected):
  cores = sorted(os.sched_getaffinity(0))[:2]
  if len(cores) < 2:
    pytest.skip("this machine has one core")
  found = subprocess.run(
    [sys.executable, "-c", COUNT, number, str(scenes), *map(str, cores)],
    cwd=ROOT,
    env=dict(os.environ, JAX_PLATFORMS="cpu", XLA_FLAGS=xla),
    capture_output=True,
    text=True,
    check=True,
  )
  assert int(found.stdout) == expected
