"""What the system says of this process's memory; Linux only."""


def status_kb(field: str) -> int:
  """Returns a field of /proc/self/status in kB, as VmHWM or RssAnon."""
  with open("/proc/self/status") as file:
    line = next(line for line in file if line.startswith(f"{field}:"))
  return int(line.split()[1])
