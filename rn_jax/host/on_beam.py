"""Units of work as elements of a pipeline of Apache Beam.

What a unit needs lies in a folder that all workers see under the same path, and
so do results: through the pipeline go numbers and hashes alone. The file of a
unit is removed when the unit is done; a pipeline that fails is followed by one
with the units that are left.
"""

import functools
import hashlib
import json
import pickle
import shlex
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import apache_beam as beam  # pyright: ignore[reportMissingImports] (an extra)
from absl import logging
from apache_beam.metrics import (  # pyright: ignore[reportMissingImports]
  Metrics,
  MetricsFilter,
)
from apache_beam.options.pipeline_options import (  # pyright: ignore[reportMissingImports]
  PipelineOptions,
  StandardOptions,
)
from apache_beam.runners.runner import (  # pyright: ignore[reportMissingImports]
  create_runner,
)

from rn_jax.host.atomic import replacing
from rn_jax.host.paths import place, remove_folder
from rn_jax.host.write_errors import explain

_NAMESPACE = "rn_jax"  # of the counters
_SHARED = "shared"
_PIPELINES = 3  # before the units that are left are given up


def read_options(text: str) -> PipelineOptions:
  """Reads options such as "--runner=DirectRunner --direct_num_workers=2".

  Raises:
    ValueError: They are not such a list, or Beam has no such runner.
  """
  words = shlex.split(text)
  if any(not word.startswith("-") for word in words[:1]):
    raise ValueError(
      f"beam_options is {text!r}, must be options of Beam such as "
      "--runner=DirectRunner"
    )
  options = PipelineOptions(words)
  create_runner(options.view_as(StandardOptions).runner or "DirectRunner")
  return options


def do(
  function: Callable[..., dict[str, int]],
  units: Iterable,
  *,
  options: str,
  folder: Path,
  shared: tuple,
) -> int:
  """Has Beam call `function(*shared, unit)`, and prints what was counted.

  Args:
    function: See rn_jax.host.pool.Pool.do; what it returns goes into Beam's
      counters, too.
    units: What to work on; sent to workers as pickles, as are the others.
    options: Of Beam.
    folder: Holds nothing else; made, and in the end removed.
    shared: First arguments of all calls.

  Returns:
    The number of units.

  Raises:
    ValueError: A call raised one; or an OSError, which comes as such.
    ChildProcessError: Pipelines failed for another reason.
  """
  remove_folder(folder, ignore_errors=True)  # of a run that was killed
  folder.mkdir(parents=True)
  call = _write(folder / _SHARED, (function, shared))
  hashes = {
    i: _write(_unit_path(folder, i), unit) for i, unit in enumerate(units)
  }
  left = hashes
  for attempt in range(1, _PIPELINES + 1):
    if not left:
      break
    reason = "units that Beam says are done are still there; all workers must "
    reason += "see this folder under the same path"
    try:
      _run(folder, call, left, read_options(options))
    except Exception as error:  # each runner has its own
      _raise_reported(folder)
      reason = str(error).strip().split("\n")[-1]
    left = {i: h for i, h in left.items() if _unit_path(folder, i).exists()}
    if left and attempt == _PIPELINES:
      raise ChildProcessError(
        f"{folder}: {attempt} pipelines of Beam left units undone, the last "
        f"with: {reason}; what is finished is kept"
      )
    if left:
      logging.warning("Beam left %d units undone, again: %s", len(left), reason)
  remove_folder(folder)
  return len(hashes)


def _run(
  folder: Path, call: str, units: dict[int, str], options: PipelineOptions
) -> None:
  """Runs a pipeline to its end and prints its counters."""
  pipeline = beam.Pipeline(options=options)
  _ = (
    pipeline
    | "units" >> beam.Create(list(units.items()))
    | "spread" >> beam.Reshuffle()
    | "do" >> beam.Map(_do_unit, str(folder), call)
  )
  result = pipeline.run()
  state = result.wait_until_finish()
  if state not in (None, "DONE"):
    raise ChildProcessError(f"the pipeline ended as {state}")
  wanted = MetricsFilter().with_namespace(_NAMESPACE)
  found = result.metrics().query(wanted)["counters"]
  counts = sorted((c.key.metric.name, c.result) for c in found)
  if counts:
    print("Beam:", ", ".join(f"{n:,} {name}" for name, n in counts), flush=True)


def _do_unit(unit: tuple[int, str], folder: str, call: str) -> None:
  """Does a unit, in a worker."""
  number, sha256 = unit
  units = place(folder)
  if not units.is_dir():
    raise RuntimeError(
      f"{folder} is not seen by the worker {socket.gethostname()}; all workers "
      "must see it under the same path"
    )
  path = _unit_path(units, number)
  if not path.exists():
    return  # Done already, by a worker that Beam took for lost.
  function, shared = _call_of(units / _SHARED, call)
  try:
    counts = function(*shared, _read(path, sha256))
  except (ValueError, OSError) as error:
    with replacing(path.with_suffix(".error")) as temporary:
      kind = "OSError" if isinstance(error, OSError) else "ValueError"
      temporary.write_text(json.dumps({"kind": kind, "text": explain(error)}))
    raise
  for name, count in counts.items():
    Metrics.counter(_NAMESPACE, name).inc(count)
  path.with_suffix(".error").unlink(missing_ok=True)  # it was a passing one
  path.unlink(missing_ok=True)


def _raise_reported(folder: Path) -> None:
  """Raises the error of the first unit that reported one."""
  for path in sorted(folder.glob("*.error")):
    error = json.loads(path.read_text())
    remove_folder(folder)
    kind = {"OSError": OSError, "ValueError": ValueError}[error["kind"]]
    raise kind(error["text"]) from None


def _unit_path(folder: Path, number: int) -> Path:
  return folder / f"{number:06d}.unit"


def _write(path: Path, value) -> str:
  """Writes a pickle and returns its hash."""
  content = pickle.dumps(value)
  path.write_bytes(content)
  return hashlib.sha256(content).hexdigest()


def _read(path: Path, sha256: str):
  """Reads a pickle of our own: the pipeline has its hash."""
  content = path.read_bytes()
  if hashlib.sha256(content).hexdigest() != sha256:
    raise ValueError(f"{path} was changed meanwhile; run the command again")
  return pickle.loads(content)


@functools.lru_cache(1)  # once for all units that a worker does
def _call_of(path: Path, sha256: str) -> tuple[Callable, tuple]:
  return _read(path, sha256)
