"""Fair timing of variants side by side, and the tables that show it."""

import importlib.metadata
import math
import os
import platform
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from absl import app, flags

from rn_jax.host.progress import progress_bar


def measure(
  variants: Mapping[str, Callable[[], Any]],
  repeats: int,
  label: str = "",
  min_seconds: float = 0.3,
) -> dict[str, list[float]]:
  """Times variants in turns, so that a busy machine slows all of them alike.

  Args:
    variants: What to call, by name; results are waited for.
    repeats: Rounds; in each one every variant has its turn.
    label: What the progress bar says.
    min_seconds: Length of a turn, which quick calls are repeated to fill;
      0: one call, and none to warm up.

  Returns:
    Seconds per call of each round, after two calls to warm up.
  """
  calls = dict.fromkeys(variants, 1)
  for name, variant in variants.items():
    if min_seconds:
      _seconds_per_call(variant, 1)
      once = _seconds_per_call(variant, 1)
      calls[name] = max(1, math.ceil(min_seconds / once))
  seconds = {name: [] for name in variants}
  for _ in progress_bar(
    range(repeats), desc=label, unit=" rounds", leave=False
  ):
    for name, variant in variants.items():
      seconds[name].append(_seconds_per_call(variant, calls[name]))
  return seconds


def _seconds_per_call(variant: Callable[[], Any], calls: int) -> float:
  started = time.perf_counter()
  for _ in range(calls):
    result = variant()
  jax.block_until_ready(result)
  return (time.perf_counter() - started) / calls


def speeds(
  seconds: Mapping[str, Sequence[float]], items: int
) -> dict[str, tuple[float, float, float]]:
  """Sums up what `measure` returns, for calls that deal with so many items.

  Returns:
    By variant: milliseconds per call and items per second, both of the median
    call, and the median of how many times as fast as the first variant it was
    in the same round.
  """
  first = next(iter(seconds.values()))
  table = {}
  for name, samples in seconds.items():
    time = statistics.median(samples)
    ratios = [a / b for a, b in zip(first, samples, strict=True)]
    table[name] = 1e3 * time, items / time, statistics.median(ratios)
  return table


def print_table(header: Sequence[str], rows: Sequence[Sequence]) -> None:
  """Prints a Markdown table; floats get three significant digits."""
  table = [list(header), *([_text(cell) for cell in row] for row in rows)]
  widths = [max(map(len, column)) for column in zip(*table, strict=True)]
  numeric = [not isinstance(cell, str) for cell in rows[0]]
  rule = ["-" * (w - n) + ":" * n for w, n in zip(widths, numeric, strict=True)]
  for row in [table[0], rule, *table[1:]]:
    aligned = (
      cell.rjust(width) if is_number else cell.ljust(width)
      for cell, width, is_number in zip(row, widths, numeric, strict=True)
    )
    print(f"| {' | '.join(aligned)} |")


def _text(cell: str | float | int) -> str:
  if not isinstance(cell, float):
    return f"{cell:,}" if isinstance(cell, int) else cell
  digits = 2 - math.floor(math.log10(abs(cell))) if cell else 0
  return f"{round(cell, digits):,.{max(digits, 0)}f}"


def machine() -> str:
  """Describes devices, versions and the load at this moment in one line."""
  packages = ("jax", "jaxlib", "flax", "numpy")
  versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
  return (
    f"{jax.device_count()} x {jax.devices()[0].device_kind}, "
    f"{os.cpu_count()} {platform.machine()} cores, load "
    f"{os.getloadavg()[0]:.1f}; Python {platform.python_version()}, "
    f"{', '.join(versions)}"
  )


def children_cpu() -> float:
  """Returns seconds of the processor of all processes that were waited for."""
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return usage.ru_utime + usage.ru_stime


def main(run: Callable, holders: Sequence[flags.FlagHolder]) -> None:
  """Runs a benchmark as a program, with a flag for each of its arguments.

  SIGTERM ends it as an exception does, so that nothing is left behind.
  """

  def start(argv: list[str]) -> None:
    if len(argv) > 1:
      raise app.UsageError(f"unknown arguments {argv[1:]}")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    print(machine())
    run(**{holder.name: holder.value for holder in holders})

  app.run(start)
