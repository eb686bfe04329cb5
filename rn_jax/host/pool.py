"""Where units of work are done: in processes of this machine, or by Beam.

A unit's results are files; a unit tells its worker no more than what it made
how many of. So it does not matter where, nor how often a unit is done.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rn_jax.host.parts import Parts
from rn_jax.host.processes import in_processes


class Pool(NamedTuple):
  """Who does the units of a job.

      for position in pool.do(draw, batches, shared=(folder,), folder=hidden):
        print("batch", position, "is drawn")

  Attributes:
    workers: Number of processes; with 1 this process does the work.
    beam_options: Options of Apache Beam's pipelines, which then do the work:
      "--runner=DirectRunner"; None: the processes do it.
  """

  workers: int = 1
  beam_options: str | None = None

  @property
  def is_here(self) -> bool:
    """Whether units are done in this process, in their order."""
    return self.workers == 1 and self.beam_options is None

  def of_one_process(self) -> "Pool":
    """The pool for work that keeps all cores busy in one process."""
    return self if self.beam_options is not None else Pool(1)

  def do(
    self,
    function: Callable[..., dict[str, int]],
    units: Iterable,
    *,
    folder: Path,
    shared: tuple = (),
    in_order: bool = False,
  ) -> Iterator[int]:
    """Calls `function(*shared, unit)` and yields positions of what is done.

    What a call raises is raised here; Beam's workers keep the kind of error
    (ValueError or OSError) and its text.

    Args:
      function: Leaves its results in files, each whole or not there, and
        returns how many of what it made: {"scenes": 250}. It may be called
        again after it was cut off. Unless `is_here`, at the top level of a
        module that is no command, or a partial of one.
      units: What to work on.
      folder: Where Beam keeps the units meanwhile; made, and in the end
        removed.
      shared: First arguments of all calls.
      in_order: Yield in the order of the units, not as calls get done.

    Raises:
      ChildProcessError: A worker died; of Beam's, again and again.
    """
    if self.beam_options is None:
      done = in_processes(
        function, units, self.workers, shared=shared, in_order=in_order
      )
      yield from (position for position, _ in done)
      return
    from rn_jax.host import on_beam  # which few have installed

    yield from range(
      on_beam.do(
        function,
        units,
        options=self.beam_options,
        folder=folder.absolute(),
        shared=shared,
      )
    )


HERE = Pool()


def pool_of(workers: int | None, beam_options: str | None = None) -> Pool:
  """Returns the pool that a command is asked to work with.

  Args:
    workers: Number of processes; None: one per core.
    beam_options: See Pool.

  Raises:
    ValueError: There are fewer workers than one; or both are given, or Beam is
      not installed or does not know the options.
  """
  if workers is not None and workers < 1:
    raise ValueError(f"workers is {workers}, must be at least 1")
  if beam_options is None:
    return Pool(workers or os.cpu_count() or 1)
  if workers is not None:
    raise ValueError(
      "give either workers or beam_options, in which the number of workers is "
      "an option of Beam's runner"
    )
  try:
    from rn_jax.host import on_beam
  except ImportError as error:
    raise ValueError(
      f"beam_options needs Apache Beam ({error}): pip install 'rn_jax[beam]'"
    ) from None
  on_beam.read_options(beam_options)
  return Pool(1, beam_options)


def make_parts(
  parts: Parts,
  make: Callable[..., tuple[bytes, dict[str, int]]],
  units: Iterable[tuple[int, object]],
  pool: Pool,
  *,
  shared: tuple = (),
  in_order: bool = False,
) -> Iterator[tuple[int, bytes]]:
  """Makes parts that are not there, and yields number and content of all.

  Args:
    parts: Keeps them.
    make: `make(*shared, unit)` returns the content of a part, and how many of
      what it made; for the rest see Pool.do.
    units: For each part its number and its unit.
    pool: Who makes them.
    shared: First arguments of all calls.
    in_order: Yield in the order of the units, not as they get done.
  """
  units = list(units)
  for position in pool.do(
    _make_part,
    units,
    folder=parts.folder / "beam",
    shared=(parts, make, shared),
    in_order=in_order,
  ):
    number, _ = units[position]
    content = parts.read(number)
    if content is None:
      raise OSError(
        f"{parts.path(number)}: a worker has written this part, and it is not "
        "there; all workers must see the folder under the same path"
      )
    yield number, content


def _make_part(
  parts: Parts, make: Callable, shared: tuple, unit: tuple[int, object]
) -> dict[str, int]:
  number, of_part = unit
  if parts.read(number) is not None:
    return {}
  content, counts = make(*shared, of_part)
  parts.write(number, content)
  return counts
