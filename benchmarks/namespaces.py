"""Hosts on one machine: network namespaces with an address each.

A bridge joins them, in a namespace of its own, so that nothing is changed in
the machine's own network. Each host has its address, its ports and its queue of
packets; processors, memory and files are those of the machine.

The namespaces have no names that could be left behind: each lasts as long as a
process in it, and that one as long as a pipe from this program. So the kernel
clears them away however the program ends.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

_PROGRAMS = ("ip", "tc", "unshare", "nsenter", "setpriv")


class Host:
  """A host, made by `hosts`.

  Attributes:
    name: Its own, as programs on it find it.
    address: What the others call it.
  """

  def __init__(self, name: str, address: str, pid: int):
    self.name, self.address, self._pid = name, address, pid

  def start(self, command: Sequence[str], **how) -> subprocess.Popen:
    """Starts a command on the host; `how` is that of subprocess.Popen.

    It is killed when this program ends.
    """
    killed = ("setpriv", "--pdeathsig", "KILL")
    return subprocess.Popen(_inside(self._pid, *killed, *command), **how)

  @contextlib.contextmanager
  def throttled(self, megabits: int) -> Iterator[None]:
    """Lets the host send so many megabits a second and no more, for a block."""
    queue = ("dev", "eth0", "root", "tbf", "rate", f"{megabits}mbit")
    limits = ("burst", "64kb", "latency", "400ms")
    _run(*_inside(self._pid, "tc", "qdisc", "add", *queue, *limits))
    yield
    _run(*_inside(self._pid, "tc", "qdisc", "delete", *queue[:3]))

  @contextlib.contextmanager
  def unplugged(self) -> Iterator[None]:
    """Takes the host off the network for a block, without a word."""
    eth0 = _inside(self._pid, "ip", "link", "set", "eth0")
    _run(*eth0, "down")
    yield
    _run(*eth0, "up")


def why_not() -> str | None:
  """Returns why there can be no hosts here, in the kernel's words, or None."""
  missing = [name for name in _PROGRAMS if not shutil.which(name)]
  if missing:
    return f"iproute2 or util-linux is not installed: no {', '.join(missing)}"
  try:
    with hosts(1):
      return None
  except OSError as error:
    return str(error)


@contextlib.contextmanager
def hosts(number: int) -> Iterator[list[Host]]:
  """Makes hosts that reach each other, and nothing else, for a block.

  Raises:
    OSError: The kernel refuses; it takes root's rights.
  """
  names = {f"host{i}": f"10.77.0.{i + 1}" for i in range(number)}
  with contextlib.ExitStack() as stack:
    table = stack.enter_context(tempfile.NamedTemporaryFile("w"))
    table.write("127.0.0.1 localhost\n")
    table.writelines(f"{address} {name}\n" for name, address in names.items())
    table.flush()
    switch = stack.enter_context(_namespace("switch", table.name))
    on_switch = _inside(switch, "ip", "link")
    _run(*on_switch, "add", "bridge", "type", "bridge")
    _run(*on_switch, "set", "bridge", "up")
    made = []
    for i, (name, address) in enumerate(names.items()):
      pid, port = stack.enter_context(_namespace(name, table.name)), f"port{i}"
      here, there = ("name", "eth0"), (port, "netns", str(switch))
      on_host = _inside(pid, "ip")
      _run(*on_host, "link", "add", *here, "type", "veth", "peer", *there)
      _run(*on_switch, "set", port, "master", "bridge", "up")
      _run(*on_host, "address", "add", address + "/24", "dev", "eth0")
      _run(*on_host, "link", "set", "eth0", "up")
      made.append(Host(name, address, pid))
    yield made


@contextlib.contextmanager
def _namespace(name: str, table: str) -> Iterator[int]:
  """Makes a namespace; yields the number of the process that keeps it.

  Args:
    name: Of the host. It leads to the host's address, as on a host of its own:
      Gloo tells the others what it finds there.
    table: File to find in the place of /etc/hosts.
  """
  own = 'hostname "$1" && mount --bind "$2" /etc/hosts && ip link set lo up'
  with subprocess.Popen(
    [
      *("unshare", "--net", "--uts", "--mount"),
      *("sh", "-c", own + " && echo made && exec cat", "sh", name, table),
    ],
    stdin=subprocess.PIPE,  # which cat reads until this program ends
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  ) as keeper:
    assert keeper.stdout
    said = keeper.stdout.readline().strip()
    if said != "made":
      raise OSError(f"no network namespace: {said}")
    yield keeper.pid


def _inside(pid: int, *command: str) -> list[str]:
  kinds = ("--net", "--uts", "--mount")
  # --mount alone would lead to the root folder.
  return ["nsenter", f"--target={pid}", *kinds, "--wd=.", *command]


def _run(*command: str) -> None:
  done = subprocess.run(command, capture_output=True, text=True)
  if done.returncode:
    raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
