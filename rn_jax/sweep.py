"""Trains several configs with several seeds, one after another.

    python -m rn_jax.sweep --configs=configs/ir_sd.py,configs/avf_sd.py \
        --seeds=3 --workdir=W --set=data.dir=RECORDS

trains each config with seeds 0, 1 and 2 in W/ir_sd-0, W/ir_sd-1 and so on. Run
it again after an interruption: what is finished is kept, and what is not goes
on where it stopped. A member that fails is listed in the end, with its log, and
does not stop the others. With --index=I only member I is trained, counted from
0, so that a job array of a scheduler can spread them over machines.
"""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from rn_jax.host import cli
from rn_jax.host.paths import local_path


class TrainingError(ValueError):
  """A training did not come to its end."""


class Member(NamedTuple):
  """One training of a sweep.

  Attributes:
    config: As --config of launch.py takes it.
    seed: Its config.seed.
    workdir: Its folder; its log is beside it.
  """

  config: str
  seed: int
  workdir: Path

  @property
  def log(self) -> Path:
    return self.workdir.with_name(self.workdir.name + ".log")

  @property
  def finished(self) -> bool:
    """Whether its training has evaluated it, which comes last."""
    return any(
      '"question_only_accuracy"' in path.read_text()
      for path in self.workdir.glob("eval_*.json")
    )


def members(configs: Sequence[str], seeds: int, workdir: Path) -> list[Member]:
  """Returns all trainings, in the order in which they are run.

  Raises:
    ValueError: Two configs would share a folder.
  """
  names = [
    config.rpartition("/")[2].replace(".py", "").replace(":", "-")
    for config in configs
  ]
  if len(set(names)) < len(names):
    raise ValueError(
      f"configs of one name would share a folder: {', '.join(sorted(names))}"
    )
  return [
    Member(config, seed, workdir / f"{name}-{seed}")
    for seed in range(seeds)
    for config, name in zip(configs, names, strict=True)
  ]


def train(member: Member, settings: Sequence[str]) -> resource.struct_rusage:
  """Trains a member in a process of its own, and returns what that used.

  Args:
    member: What to train.
    settings: More of the config, as "data.dir=RECORDS".

  Raises:
    KeyboardInterrupt: It was stopped by a signal.
    TrainingError: It failed.
  """
  member.workdir.parent.mkdir(parents=True, exist_ok=True)
  command = [
    sys.executable,
    *("-m", "launch"),
    f"--config={member.config}",
    f"--workdir={member.workdir}",
    f"--config.seed={member.seed}",
    *(f"--config.{setting}" for setting in settings),
  ]
  stopped = []

  def stop(number: int, _) -> None:
    stopped.append(number)
    os.kill(process.pid, number)

  with open(member.log, "ab") as log:
    process = subprocess.Popen(command, stdout=log, stderr=log)
    previous = signal.signal(signal.SIGTERM, stop)
    try:
      _, status, usage = os.wait4(process.pid, 0)
    except KeyboardInterrupt:  # of the terminal, it was told already
      process.send_signal(signal.SIGINT)
      process.wait()
      raise
    finally:
      signal.signal(signal.SIGTERM, previous)
  code = process.returncode = os.waitstatus_to_exitcode(status)
  # It saves and ends with 128 + the signal; one that only starts dies of it.
  signals = signal.SIGTERM, signal.SIGINT
  if stopped or any(code in (128 + number, -number) for number in signals):
    raise KeyboardInterrupt
  if code or not member.finished:
    raise TrainingError(f"{member.workdir} failed; {member.log} tells why")
  return usage


def sweep(
  configs: Sequence[str],
  seeds: int,
  workdir: str | Path,
  index: int | None = None,
  settings: Sequence[str] = (),
) -> list[Member]:
  """Trains what is not finished, and returns what failed.

  Args:
    configs: As --config of launch.py takes them.
    seeds: Trainings of each, with the seeds from 0.
    workdir: Folder of the members' folders.
    index: The only member to train; None: all.
    settings: More of the config, as "data.dir=RECORDS".

  Raises:
    ValueError: There is no such member, or no config.
    KeyboardInterrupt: A signal has stopped it.
  """
  if not configs:
    raise ValueError("there is no config to train")
  chosen = members(configs, seeds, Path(local_path(workdir)))
  if index is not None:
    if not 0 <= index < len(chosen):
      raise ValueError(
        f"index is {index}; the members are numbered 0 to {len(chosen) - 1}"
      )
    chosen = [chosen[index]]
  failed = []
  for number, member in enumerate(chosen, start=1):
    place = f"{number} of {len(chosen)}: {member.workdir}"
    if member.finished:
      print(f"{place}: is finished", flush=True)
      continue
    print(f"{place}: training, see {member.log}", flush=True)
    try:
      train(member, settings)
    except TrainingError:
      failed.append(member)
      print(f"{place}: FAILED", flush=True)
  return failed


def _main(configs, seeds, workdir, index, set) -> None:
  if failed := sweep(configs, seeds, workdir, index, set):
    logs = "\n".join(f"  {member.log}" for member in failed)
    raise ValueError(f"{len(failed)} failed; their logs tell why:\n{logs}")


if __name__ == "__main__":
  cli.run(
    _main,
    flags.DEFINE_list("configs", None, "Config files.", required=True),
    flags.DEFINE_integer("seeds", 1, "Trainings of each config.", 1),
    cli.path_flag("workdir", None, "Folder to make.", required=True),
    flags.DEFINE_integer("index", None, "Train this member only, from 0."),
    flags.DEFINE_multi_string(
      "set", [], "Another setting, as in data.dir=RECORDS; once for each."
    ),
  )
