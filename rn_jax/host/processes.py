"""Work in several processes, which end with the one that started them."""

import functools
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import Any

_call: Callable  # of a worker process


def in_processes(
  function: Callable,
  items: Iterable,
  workers: int,
  *,
  shared: tuple = (),
  in_order: bool = False,
) -> Iterator[tuple[int, Any]]:
  """Yields `function(*shared, item)` of each item, with the item's position.

  What a call raises is raised here, and no further call is begun.

  Args:
    function: At the top level of a module, or a partial of one. More than one
      process needs the usual `if __name__ == "__main__":` guard in the script
      that calls.
    items: What to work on; each is sent when a process is about to need it.
    workers: Number of processes, at most one per item; with one of either this
      process does the work.
    shared: First arguments of all calls; sent once to each process.
    in_order: Yield in the order of `items`, not as calls get done.

  Raises:
    ChildProcessError: A process died.
  """
  items = iter(items)
  first = list(itertools.islice(items, 2))
  items = itertools.chain(first, items)
  if workers <= 1 or len(first) <= 1:
    for i, item in enumerate(items):
      yield i, function(*shared, item)
    return
  executor = futures.ProcessPoolExecutor(
    workers,
    mp_context=multiprocessing.get_context("spawn"),
    initializer=_start_worker,
    initargs=(function, shared),
  )
  todo = enumerate(items)
  pending = {}  # in the order of submission
  try:
    while True:
      for i, item in itertools.islice(todo, 2 * workers - len(pending)):
        pending[_submit(executor, item)] = i
      if not pending:
        return
      done = list(pending)[:1]
      if not in_order:
        done = futures.wait(pending, return_when=futures.FIRST_COMPLETED).done
      for job in done:
        yield pending.pop(job), job.result()
  except BrokenProcessPool as error:
    raise ChildProcessError(
      "a worker process died, most likely killed for want of memory; run the "
      "command again with fewer --workers"
    ) from error
  finally:
    executor.shutdown(cancel_futures=True)


def _submit(executor: futures.Executor, item) -> futures.Future:
  # It may start a process, which takes over what is blocked: interrupted
  # during its imports, it would print a traceback.
  before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
  try:
    return executor.submit(_call_in_worker, item)
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(function: Callable, shared: tuple) -> None:
  global _call
  _call = functools.partial(function, *shared)
  # Without its parent, if that is killed, it would wait for work forever.
  threading.Thread(target=_exit_with_parent, daemon=True).start()
  if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends without a traceback
  signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _exit_with_parent() -> None:
  parent = multiprocessing.parent_process()
  assert parent is not None  # this is a worker
  parent.join()
  os._exit(1)


def _call_in_worker(item):
  return _call(item)
