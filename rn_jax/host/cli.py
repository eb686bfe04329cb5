"""Runs a module as a command: flags in, one call, errors without a traceback.

    if __name__ == "__main__":
      cli.run(
        _main,
        cli.path_flag("output", None, "File to write.", required=True),
      )

Flags are defined only when the module is the program, so that other modules
can import it without taking over its flags.
"""

import signal
import sys
from collections.abc import Callable

from absl import app, flags

from rn_jax.host.paths import is_address, local_path, place
from rn_jax.host.write_errors import explain

flags.disclaim_key_flags()  # what is defined here belongs to the caller


class _PathParser(flags.ArgumentParser):
  """Reads a path; see local_path, or with `addresses` place."""

  def __init__(self, addresses: bool = False):
    self._addresses = addresses

  def parse(self, argument: str) -> str:
    return read_path(argument) if self._addresses else local_path(argument)


class _PathsParser(flags.ListParser):
  """Reads paths with commas between them."""

  def parse(self, argument: str | list[str]) -> list[str]:
    return [local_path(path) for path in super().parse(argument)]


def read_path(argument: str) -> str:
  """Returns a local path with `~` expanded, or the address of a store.

  Raises:
    ValueError: It is another address, or the store cannot be reached.
  """
  if not is_address(argument):
    return local_path(argument)
  path = place(argument)
  path.check()  # pyright: ignore[reportAttributeAccessIssue] (an Address)
  return str(path)


def path_flag(
  name: str,
  default: str | None,
  help: str,
  *,
  addresses: bool = False,
  **options,
) -> flags.FlagHolder:
  """Defines a flag for a path, with `~` expanded.

  Args:
    name: Of the flag.
    default: Its default.
    help: Its help.
    addresses: Whether gs://… and s3://… are taken; else they are refused by
      name.
    **options: Of flags.DEFINE.
  """
  return flags.DEFINE(_PathParser(addresses), name, default, help, **options)


def paths_flag(
  name: str, default: list[str] | None, help: str, **options
) -> flags.FlagHolder:
  """Defines a flag for paths with commas between them."""
  serializer = flags.CsvListSerializer(",")
  return flags.DEFINE(
    _PathsParser(), name, default, help, serializer=serializer, **options
  )


def multi_path_flag(
  name: str, default: list[str], help: str, **options
) -> flags.FlagHolder:
  """Defines a flag for paths that is given once for each."""
  serializer = flags.ArgumentSerializer()
  return flags.DEFINE_multi(
    _PathParser(), serializer, name, default, help, **options
  )


def beam_flag(name: str) -> flags.FlagHolder:
  """Defines a flag for options of Apache Beam; see rn_jax.host.pool."""
  return flags.DEFINE_string(
    name,
    None,
    f"Options of Apache Beam, such as --{name}=--runner=DirectRunner; its "
    "workers then do the work. See docs/beam.md.",
  )


def run(main: Callable[..., None], *holders: flags.FlagHolder) -> None:
  """Parses the command line and calls `main` with the flags by name.

  Args:
    main: Takes each flag as an argument of its name. A ValueError, OSError
      or FloatingPointError that it raises ends the program with status 1 and
      `error: MESSAGE`; an app.UsageError with the help text, and an
      interruption with status 130.
    *holders: What flags.DEFINE_… returned.
  """

  def call(argv: list[str]) -> None:
    if len(argv) > 1:
      raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
    try:
      main(**{holder.name: holder.value for holder in holders})
    except (ValueError, OSError, FloatingPointError) as error:
      raise SystemExit(f"error: {explain(error)}") from error
    except KeyboardInterrupt:
      print(
        "interrupted; the same command takes up what is finished",
        file=sys.stderr,
      )
      raise SystemExit(128 + signal.SIGINT) from None

  app.run(call, flags_parser=parse_flags)


def parse_flags(argv: list[str]) -> list[str]:
  """Parses flags as absl does, but --help ends the program with status 0."""
  try:
    return app.parse_flags_with_usage(argv)
  except SystemExit as stop:
    if isinstance(stop.__context__, flags.Error):
      raise
    raise SystemExit(0) from None  # nothing is wrong: help was asked for
