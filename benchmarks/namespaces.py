"""Hosts on one machine: network namespaces with an address each.

A bridge joins them, in a namespace of its own, so that nothing is changed in
the machine's own network. Each host has its address, its ports and its queue of
packets; processors, memory and files are those of the machine.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path


class Host:
  """A host, made by `hosts`.

  Attributes:
    name: Its own, and that of its namespace.
    address: What the others call it.
  """

  def __init__(self, name: str, address: str, names: Path):
    self.name, self.address, self.names = name, address, names

  def start(self, command: Sequence[str], **how) -> subprocess.Popen:
    """Starts a command on the host; `how` is that of subprocess.Popen."""
    # Its own name, which leads to its address as on a host of its own: Gloo
    # tells the others what it finds there.
    own = f"hostname {self.name} && mount --bind {self.names} /etc/hosts"
    return subprocess.Popen(
      [
        *_ip("netns", "exec", self.name, "unshare", "--uts"),
        *("sh", "-c", own + ' && exec "$@"', "sh", *command),
      ],
      **how,
    )

  @contextlib.contextmanager
  def delayed(self, milliseconds: int) -> Iterator[None]:
    """Holds back every packet that the host sends, for a block."""
    queue = ("dev", "eth0", "root", "netem", "delay", f"{milliseconds}ms")
    tc = _ip("netns", "exec", self.name, "tc", "qdisc")
    _run(*tc, "add", *queue)
    yield
    _run(*tc, "delete", *queue)

  @contextlib.contextmanager
  def unplugged(self) -> Iterator[None]:
    """Takes the host off the network for a block, without a word."""
    eth0 = _ip("-netns", self.name, "link", "set", "eth0")
    _run(*eth0, "down")
    yield
    _run(*eth0, "up")


def why_not() -> str | None:
  """Returns why there can be no hosts here, in the kernel's words, or None."""
  if not (shutil.which("ip") and shutil.which("tc")):
    return "iproute2 (ip, tc) is not installed"
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
  prefix = f"rnjax-{os.getpid()}"
  switch = f"{prefix}-switch"
  made = []
  names = Path(tempfile.mkdtemp(), "hosts")
  try:
    for name in (switch, *(f"{prefix}-{i}" for i in range(number))):
      _run(*_ip("netns", "add", name))
      made.append(name)
      _run(*_ip("-netns", name, "link", "set", "lo", "up"))
    _run(*_ip("-netns", switch, "link", "add", "bridge", "type", "bridge"))
    _run(*_ip("-netns", switch, "link", "set", "bridge", "up"))
    found = []
    for i, name in enumerate(made[1:]):
      address, port = f"10.77.0.{i + 1}", f"port{i}"
      _run(
        *_ip("-netns", name, "link", "add", "eth0", "type", "veth"),
        *("peer", "name", port, "netns", switch),
      )
      _run(*_ip("-netns", switch, "link", "set", port, "master", "bridge"))
      _run(*_ip("-netns", switch, "link", "set", port, "up"))
      _run(
        *_ip("-netns", name, "address", "add", address + "/24"), "dev", "eth0"
      )
      _run(*_ip("-netns", name, "link", "set", "eth0", "up"))
      found.append(Host(name, address, names))
    lines = [f"{x.address} {x.name}\n" for x in found]
    names.write_text("127.0.0.1 localhost\n" + "".join(lines))
    yield found
  finally:
    for name in made:
      _run(*_ip("netns", "delete", name))
    shutil.rmtree(names.parent)


def _ip(*arguments: str) -> list[str]:
  return ["ip", *arguments]


def _run(*command: str) -> None:
  done = subprocess.run(command, capture_output=True, text=True)
  if done.returncode:
    raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
