"""Whether the model of benchmarks.plan foretells runs of data_prep.generate.

    python -m benchmarks.plan_check --scenes=1000 --workers=1,2

What a unit and a start take comes from runs of one and of three units by one
process, in each round before the runs that are foretold; the table has medians
of the rounds. The clock's seconds are foretold by the model; the processor's,
of all processes together, by adding up.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import flags

from benchmarks import plan, timing
from data_prep.generation.job import SCENES_PER_PART

_UNITS = 3  # of the longer run that the seconds of a unit come from


class Spent(NamedTuple):
  """Seconds by the clock, and of the processor in all processes."""

  clock: float
  processor: float


def generate(scenes: int, workers: int) -> Spent:
  """Runs the command in a folder of its own; returns what it took."""
  with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, "-m", "data_prep.generate"]
    command += [f"--output_dir={folder}", f"--num_scenes={scenes}"]
    command += [f"--workers={workers}"]
    before, started = timing.children_cpu(), time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    clock = time.perf_counter() - started
    return Spent(clock, timing.children_cpu() - before)


def foretell(one: Spent, three: Spent, units: int, workers: int) -> Spent:
  """Returns what a run should take.

  Args:
    one: What a run of one unit by one process took.
    three: The same of three units.
    units: Of the run that is foretold.
    workers: Its processes. Unless it is one, they start as long as the command.
  """
  unit = Spent(
    *((b - a) / (_UNITS - 1) for a, b in zip(one, three, strict=True))
  )
  start = Spent(*(a - u for a, u in zip(one, unit, strict=True)))
  processes = min(workers, units) if workers > 1 else 0
  later = start.clock if processes else 0.0
  return Spent(
    start.clock + plan.finish([unit.clock] * units, workers, later),
    start.processor * (1 + processes) + unit.processor * units,
  )


def run(scenes: int, workers: Sequence[str], repeats: int) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  units = -(-scenes // SCENES_PER_PART)
  numbers = [int(number) for number in workers]
  rounds = []
  for _ in range(repeats):
    one, three = (generate(n * SCENES_PER_PART, 1) for n in (1, _UNITS))
    rounds.append(
      [
        (
          foretell(one, three, units, number),
          generate(units * SCENES_PER_PART, number),
        )
        for number in numbers
      ]
    )
  # [workers, foretold or found, clock or processor]
  medians = np.median(rounds, 0)
  rows = []
  for number, (told, found) in zip(numbers, medians.tolist(), strict=True):
    row = [number]
    for a, b in zip(told, found, strict=True):
      row += [a, b, 100 * (a / b - 1)]
    rows.append(tuple(row))
  print(f"{units} units\n")
  header = "workers", "clock: foretold s", "s", "off by %"
  more = "processor: foretold s", "s", "off by %"
  timing.print_table((*header, *more), rows)
  return rows


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_integer(
        "scenes", 1000, "Rounded up to units.", lower_bound=1
      ),
      flags.DEFINE_list("workers", ["1", "2"], "Processes."),
      flags.DEFINE_integer("repeats", 3, "Rounds.", lower_bound=1),
    ],
  )
