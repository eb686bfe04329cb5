"""What a run writes beside its checkpoints, and what it says."""

import contextlib
import datetime
import json
import logging
import platform
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import flax
import jax
import ml_collections
import numpy as np
import optax
import orbax.checkpoint as ocp
import tensorboardX
from absl import logging as absl_logging

import rn_jax
from rn_jax.host.atomic import replacing


def quiet_backends() -> None:
  """Keeps JAX from listing the accelerators that a machine does not have."""
  logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)


def parameter_table(params: Any) -> str:
  """Returns a table of the parameters' names, shapes and sizes.

  Args:
    params: Tree of arrays or of shapes (jax.eval_shape).
  """
  leaves = jax.tree_util.tree_leaves_with_path(params)
  rows = [
    (
      jax.tree_util.keystr(path, simple=True, separator="/"),
      "x".join(map(str, leaf.shape)),
      f"{leaf.size:,}",
    )
    for path, leaf in leaves
  ]
  rows.append(("total", "", f"{sum(leaf.size for _, leaf in leaves):,}"))
  widths = [max(len(row[i]) for row in rows) for i in range(3)]
  return "\n".join(
    f"{name:<{widths[0]}}  {shape:>{widths[1]}}  {size:>{widths[2]}}"
    for name, shape, size in rows
  )


def write_json(path: Path, content: Any) -> None:
  """Writes JSON so that the file is never seen half-written."""
  with replacing(path) as temporary:
    temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_config(workdir: Path, config: ml_collections.ConfigDict) -> None:
  """Writes config.json: the config, versions and devices of a run."""
  write_json(
    workdir / "config.json",
    {
      "config": config.to_dict(),
      "versions": {
        "rn_jax": rn_jax.__version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": metadata.version("jaxlib"),
        "flax": flax.__version__,
        "optax": optax.__version__,
        "orbax-checkpoint": ocp.__version__,
        "numpy": np.__version__,
      },
      "devices": [str(device) for device in jax.devices()],
      "processes": jax.process_count(),
    },
  )


class MetricsLog:
  """Appends metrics to metrics.jsonl and to TensorBoard event files.

  Only process 0 writes; the others' calls do nothing.
  """

  def __init__(self, workdir: Path, start: int):
    """Opens both for a run that goes on after update `start`."""
    self._file = self._events = None
    if jax.process_index() == 0:
      path = workdir / "metrics.jsonl"
      cut_off = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
      self._file = open(path, "a")  # noqa: SIM115
      if cut_off:  # a killed run's last line must not spoil the next one
        self._file.write("\n")
      self._events = tensorboardX.SummaryWriter(
        str(workdir / "tensorboard"), purge_step=start + 1
      )

  def __enter__(self) -> "MetricsLog":
    return self

  def __exit__(self, *_) -> None:
    if self._file is not None and self._events is not None:
      self._file.close()
      self._events.close()

  def write(self, step: int, epoch: float, metrics: dict[str, Any]) -> None:
    """Writes one line: `step`, `epoch`, `time` (s) and the metrics."""
    if self._file is None or self._events is None:
      return
    line = {"step": step, "epoch": round(epoch, 4), "time": time.time()}
    self._file.write(json.dumps(line | metrics) + "\n")
    self._file.flush()
    for name, value in metrics.items():
      if value is not None:
        self._events.add_scalar(name, value, step)
    self._events.flush()


class Progress:
  """Says how fast a run goes and when it will be done."""

  def __init__(
    self, start: int, stop: int, read: Callable[[int], int], unit: str
  ):
    """Starts the clock; so many updates read `read` `unit`s."""
    self._stop, self._read, self._unit = stop, read, unit
    self._step, self._time = start, time.monotonic()
    self._waited = 0.0

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Counts the time of its block as time without input.

    The device may be busy with earlier updates meanwhile: what it waits is at
    most that.
    """
    started = time.monotonic()
    yield
    self._waited += time.monotonic() - started

  def pause(self, seconds: float) -> None:
    """Leaves out time that was not spent on updates."""
    self._time += seconds

  def report(self, step: int, epoch: float, metrics: dict) -> dict[str, float]:
    """Logs a line and returns `samples_per_second` and `host_wait_ms`.

    The latter is the time without input, per update.
    """
    now = time.monotonic()
    elapsed = max(now - self._time, 1e-9)
    done = self._read(step)
    rate = (done - self._read(self._step)) / elapsed
    wait = 1e3 * self._waited / (step - self._step)
    self._step, self._time, self._waited = step, now, 0.0
    seconds = round((self._read(self._stop) - done) / rate)
    left = datetime.timedelta(seconds=seconds)
    absl_logging.info(
      "step %d/%d  epoch %.2f  loss %.4f  accuracy %.1f %%  %.0f %s/s  "
      "ETA %s  waited %.2f ms an update",
      step,
      self._stop,
      epoch,
      metrics["loss"],
      100 * metrics["accuracy"],
      rate,
      self._unit,
      left,
      wait,
    )
    return {
      "samples_per_second": rate,
      "host_wait_ms": wait,
    }
