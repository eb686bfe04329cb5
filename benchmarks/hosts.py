r"""Training on several hosts, and what becomes of it when one of them fails.

    python -m benchmarks.hosts

Takes root's rights, iproute2 and util-linux: the hosts are network namespaces
of this machine, see namespaces.py. A tiny network is trained from states by one
process with a device for each host, by one process a host, and with trouble
half-way. "ended s" is the time from the trouble until the last process had
ended; then the same command is started again on all hosts. "bits" says whether
the weights in the end are those of the hosts without trouble, "difference" how
far from those of the single process any of them is.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import flags

from benchmarks import timing
from benchmarks.namespaces import Host, hosts
from data_prep.convert_clevr import convert
from data_prep.generate import generate
from data_prep.generation.job import Job
from rn_jax.checkpoint import load_model
from rn_jax.checkpoint_format import list_steps

TROUBLES = ("slow", "late", "killed", "coordinator killed", "unplugged")
_AT_UPDATE = 50
_PATIENCE = 900  # seconds for anything, on a busy machine too
_ROOT = Path(__file__).parents[1]


def run(number: int, scenes: int, troubles: Sequence[str]) -> list[tuple]:
  """Prints what processes said and a table; returns the table's rows.

  Args:
    number: Hosts.
    scenes: Of ten questions each, to train with.
    troubles: Of TROUBLES.

  Raises:
    OSError: The kernel gives no namespaces.
    RuntimeError: A run failed that should not.
  """
  rows = []
  with tempfile.TemporaryDirectory() as folder, hosts(number) as there:
    root = Path(folder)
    make_records(root, scenes)
    train(there[:1], root, "one process", devices=number)
    train(there, root, "none")
    alone, together = (weights(root / x) for x in ("one process", "none"))
    for name in ("one process", "none", *troubles):
      ended = from_update = 0.0
      if name in troubles:
        ended, from_update = train_with(name, there, root)
      found = weights(root / name)
      same = all(map(np.array_equal, found, together))
      pairs = zip(found, alone, strict=True)
      far = max(float(np.abs(a - b).max()) for a, b in pairs)
      words = "same" if same else "other"
      rows.append((name, ended, int(from_update), words, far))
      print(*rows[-1], sep="  ", flush=True)
  header = ("trouble", "ended s", "resumed after", "bits", "difference")
  timing.print_table(header, rows)
  return rows


def make_records(root: Path, scenes: int) -> None:
  """Makes `root`/records, to train with."""
  for split, count in (("train", scenes), ("val", 8)):
    generate(root / "clevr", Job(split, count, seed=1), workers=1)
  convert(root / "clevr", root / "records", workers=1)


def train_with(
  trouble: str, there: Sequence[Host], root: Path
) -> tuple[float, int]:
  """Trains to the end; returns seconds and update as the table has them."""
  late = 10 if trouble == "late" else 0
  with _started(there, root, trouble, late=late) as processes:
    if trouble == "late":
      _finish(processes, root / trouble)
      return 0.0, 0
    _wait_for_update(processes, root / trouble)
    at = time.monotonic()
    if trouble == "slow":
      with there[-1].throttled(megabits=20):
        processes[-1].send_signal(signal.SIGSTOP)
        time.sleep(5)
        processes[-1].send_signal(signal.SIGCONT)
        _finish(processes, root / trouble)
      return 0.0, 0
    with contextlib.ExitStack() as stack:
      match trouble:
        case "killed":
          processes[-1].kill()
        case "coordinator killed":
          processes[0].kill()
        case "unplugged":
          stack.enter_context(there[-1].unplugged())
      for process in processes:
        process.wait(_PATIENCE)
    ended = time.monotonic() - at
  for place, process in enumerate(processes):
    words = _last_words(root / trouble, place)
    print(
      f"{trouble}, process {place}, status {process.returncode}: {words}",
      flush=True,
    )
  update = max(list_steps(root / trouble / "checkpoints"))
  train(there, root, trouble)
  return ended, update


def train(there: Sequence[Host], root: Path, name: str, devices=1) -> None:
  """Trains to the end, in `root`/`name`."""
  with _started(there, root, name, devices) as processes:
    _finish(processes, root / name)


@contextlib.contextmanager
def _started(
  there: Sequence[Host], root: Path, name: str, devices: int = 1, late: int = 0
) -> Iterator[list[subprocess.Popen]]:
  """Starts a process on each host, the first so many seconds late."""
  environment = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(root / "compiled"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "PYTHONPATH": str(_ROOT),
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} "
    f"--xla_force_host_platform_device_count={devices}",
  }
  command = [
    *(sys.executable, "launch.py", "--config=configs/tiny.py:original_sd"),
    *(f"--workdir={root / name}", f"--config.data.dir={root / 'records'}"),
    *("--config.train.batch_size=16", "--config.train.num_epochs=4"),
    *("--config.train.log_every=5", "--config.train.checkpoint_minutes=0.01"),
    "--config.train.eval_every=2",
  ]
  processes = [None] * len(there)
  (root / name).mkdir(exist_ok=True)
  try:
    for place in reversed(range(len(there))):
      if place == 0:
        time.sleep(late)
      together = [
        f"--coordinator_address={there[0].address}:1234",
        f"--num_processes={len(there)}",
        f"--process_id={place}",
      ]
      with _log(root / name, place).open("w") as log:
        processes[place] = there[place].start(
          [*command, *(together if len(there) > 1 else [])],
          cwd=_ROOT,
          env=environment,
          stdout=log,
          stderr=subprocess.STDOUT,
        )
    yield processes
  finally:
    for process in filter(None, processes):
      process.kill()
      process.wait()


def _log(workdir: Path, place: int) -> Path:
  return workdir / f"process_{place}.log"


def _last_words(workdir: Path, place: int) -> str:
  """Returns the project's line about the end, or that of JAX's abort."""
  lines = _log(workdir, place).read_text().splitlines()
  for sign in ("can go on no more", "Terminating process because"):
    for line in lines:
      if sign in line:
        return line.partition("] ")[2]
  return "nothing"


def _finish(processes: Sequence[subprocess.Popen], workdir: Path) -> None:
  for place, process in enumerate(processes):
    if process.wait(_PATIENCE):
      text = _log(workdir, place).read_text()
      raise RuntimeError(f"{workdir.name}: process {place}: {text[-3000:]}")


def _wait_for_update(
  processes: Sequence[subprocess.Popen], workdir: Path
) -> None:
  """Waits until some updates are made, and a checkpoint is there."""
  file = workdir / "metrics.jsonl"
  for _ in range(10 * _PATIENCE):
    if any(process.poll() is not None for process in processes):
      break
    lines = file.read_text().splitlines() if file.exists() else []
    with contextlib.suppress(json.JSONDecodeError, IndexError):
      if json.loads(lines[-1])["step"] >= _AT_UPDATE:
        return
    time.sleep(0.1)
  _finish(processes, workdir)
  raise RuntimeError(f"{workdir.name}: over before the trouble began")


def weights(workdir: Path) -> list[np.ndarray]:
  """Returns what a run has learned last."""
  return jax.tree.leaves(load_model(workdir, "latest")[0])


if __name__ == "__main__":
  _HOLDERS = [
    flags.DEFINE_integer("number", 4, "Hosts."),
    flags.DEFINE_integer("scenes", 64, "Scenes to train with."),
    flags.DEFINE_list("troubles", list(TROUBLES), "Which of them."),
  ]
  timing.main(run, _HOLDERS)
