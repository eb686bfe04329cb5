"""Runs on several hosts: how a process joins the others, and leaves them."""

import contextlib
import importlib.util
import ipaddress
import os
import re
import socket
import sys
import threading
from typing import NoReturn

import jax

from rn_jax import parallel

# How long a process that failed waits for the others.
_GRACE_SECONDS = 5


def join(
  coordinator_address: str | None,
  num_processes: int | None,
  process_id: int | None,
) -> None:
  """Joins the processes of a multi-host run; does nothing for a single one.

  With all arguments None, SLURM steps of several tasks and TPU VMs are
  recognised, and JAX finds the rest in their environment. Must run before
  anything else touches a device.

  Raises:
    ValueError: Only some of the arguments are given, or `check_own_address`
      finds that the others could not reach this process.
  """
  given = [coordinator_address, num_processes, process_id]
  if coordinator_address is not None and None not in given:
    jax.distributed.initialize(coordinator_address, num_processes, process_id)
    _use_all_gpus()
    check_own_address(coordinator_address)
  elif any(value is not None for value in given):
    raise ValueError(
      "--coordinator_address, --num_processes and --process_id go together; "
      "on TPU pods and under SLURM leave out all three"
    )
  elif expected_processes(None) > 1:
    jax.distributed.initialize()
    _use_all_gpus()
  elif importlib.util.find_spec("libtpu"):
    # JAX knows a pod by its metadata server; where there is none it finds no
    # coordinator, and this is a single host.
    with contextlib.suppress(ValueError):
      jax.distributed.initialize()
  parallel.meet()


def expected_processes(num_processes: int | None) -> int:
  """Returns how many processes a run will have, as far as one can say before.

  Args:
    num_processes: As somebody gave it, if anybody did.
  """
  return num_processes or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def is_alone() -> bool:
  """Returns whether a run has one process."""
  return jax.process_count() == 1


def _use_all_gpus() -> None:
  """Takes back that a task of SLURM sees the one GPU of its number.

  That is right for as many tasks as GPUs; one alone on its host has all.
  """
  tasks = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
  if re.fullmatch(r"1(\(x\d+\))?", tasks):
    for platform in "cuda", "rocm":
      jax.config.update(f"jax_{platform}_visible_devices", "all")


def check_own_address(coordinator_address: str) -> None:
  """Raises ValueError where the CPUs of other hosts could not be reached.

  Gloo, which sums over CPUs, tells the other processes the address that this
  host's own name leads to; the loopback's, as some systems have it, makes all
  of them wait for minutes and fail.
  """
  if jax.default_backend() != "cpu":
    return  # accelerators have ways of their own
  name = socket.gethostname()
  ours = _addresses(name)
  theirs = _addresses(coordinator_address.rsplit(":", 1)[0].strip("[]"))
  if ours and not any(map(_elsewhere, ours)) and any(map(_elsewhere, theirs)):
    raise ValueError(
      f"this host's name {name!r} leads to {ours[0]}, where other hosts cannot "
      "reach it; give it its address on their network in /etc/hosts"
    )


def _addresses(name: str) -> list[str]:
  try:
    return [str(info[4][0]) for info in socket.getaddrinfo(name, None)]
  except OSError:  # the runtime says it with more context
    return []


def _elsewhere(address: str) -> bool:
  return not ipaddress.ip_address(address.partition("%")[0]).is_loopback


def explain_broken(error: Exception) -> str | None:
  """Returns what to do about a run of several processes that broke.

  None if the error is not one of JAX's runtime, or of a single process. As
  the runtime raises them, they are JaxRuntimeErrors or ValueErrors.
  """
  found = re.search(r"\b(UNKNOWN|UNAVAILABLE|ABORTED|INTERNAL): .*", str(error))
  if is_alone() or not found:
    return None
  return (
    f"process {jax.process_index()} of {jax.process_count()} can go on no "
    "more: another one is probably gone or out of reach; see what it said. The "
    "same command on all hosts resumes from the last checkpoint. JAX's words: "
    f"{found[0]}"
  )


def leave(*, broken: bool) -> NoReturn:
  """Ends a process whose run failed, with status 1.

  One of several does not wait for all the others, as JAX would when the program
  ends: they may be gone, or wait for this one; once it is gone they notice.

  Args:
    broken: Another process failed first, so there is nothing to wait for. Else
      others that fail alike get some seconds to end in good order.
  """
  if not is_alone():
    if jax.process_index() == 0 or not broken:
      # Without process 0 the others are aborted in mid-sentence.
      end = threading.Thread(target=jax.distributed.shutdown, daemon=True)
      end.start()
      end.join(_GRACE_SECONDS)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
  sys.exit(1)
