"""A CPU as several devices, one for each core or so.

The products of a small network are too small to share among cores, but the
scenes of a batch are not: cores that each take a part of it, as devices would,
finish it together in half the time that they need otherwise.
"""

import os

import jax
from absl import logging


def divide_cpu(number: int | str | None, scenes: int) -> None:
  """Makes several devices of the CPU; before anything else asks JAX for them.

  Accelerators are not touched, and what XLA_FLAGS says about it counts more.

  Args:
    number: Of devices; "auto": one for each core, as far as they divide the
      scenes evenly; None: one.
    scenes: Scenes of a batch.
  """
  if number == "auto":
    if hasattr(os, "sched_getaffinity"):  # not on macOS
      cores = len(os.sched_getaffinity(0))
    else:
      cores = os.cpu_count() or 1
    number = next(n for n in range(cores, 0, -1) if scenes % n == 0)
  given = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
  if number and int(number) > 1 and not given:
    logging.info("The CPU counts as %d devices", number)
    jax.config.update("jax_num_cpu_devices", int(number))
