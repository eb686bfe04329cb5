"""Worker processes that end with the program that started them."""

import multiprocessing
import os
import threading


def exit_with_parent() -> None:
  """Ends a worker whose parent was killed; it would wait for work forever.

  For the `initializer` of a pool of processes.
  """

  def watch():
    multiprocessing.parent_process().join()
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()
