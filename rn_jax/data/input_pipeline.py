"""Batches by index: which questions a step reads, and with which scenes.

A batch is S scenes with K questions each: a scene's image is encoded once for
all its questions. The same code gathers it from tables, in the host's memory
or on the device.
"""

import collections
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent import futures
from typing import Any

import jax
import numpy as np

from rn_jax import parallel
from rn_jax.data.dataset import Dataset

# Questions of a scene that are evaluated together; CLEVR has ten a scene.
EVALUATION_QUESTIONS_PER_SCENE = 10


def make_tables(dataset: Dataset) -> dict[str, dict[str, np.ndarray]]:
  """Returns all that batches are gathered from: `questions` and `scenes`."""
  names = ("question", "question_length", "answer", "scene")
  questions = {
    name: dataset.questions[name] for name in names if name in dataset.questions
  }
  return {"questions": questions, "scenes": dataset.scenes}


def gather(tables: dict[str, dict[str, Any]], groups: Any) -> dict[str, Any]:
  """Gathers groups of questions, with NumPy or under a trace of JAX.

  Args:
    tables: From `make_tables`.
    groups: [S, K] question numbers, -1 for none; a group that is all -1 is
      padding of the batch.

  Returns:
    `question` [S, K, T]; `question_length`, `answer`, `mask` (which places
    hold a question) [S, K]; `image` [S, H, W, 3], or `objects` [S, N, 7] and
    `object_mask` [S, N], with `boxes` [S, N, 4] if the records' are read.
  """
  questions = tables["questions"]
  rows = groups.clip(0)
  batch = {
    name: questions[name][rows].astype(np.int32)
    for name in ("question", "question_length", "answer")
    if name in questions
  }
  batch["mask"] = groups >= 0
  scene = questions["scene"][rows[:, 0]]
  for name, values in tables["scenes"].items():
    batch[name] = values[scene]
  return batch


def make_batch(dataset: Dataset, groups: np.ndarray) -> dict[str, np.ndarray]:
  """Gathers groups of questions from a split; see `gather`."""
  return gather(make_tables(dataset), groups)


class Feed:
  """Brings batches to the steps: as indices, or gathered by the host.

  Attributes:
    tables: What the steps gather from, on every local device; empty if the
      host gathers.
  """

  def __init__(self, dataset: Dataset, on_device: bool):
    """Puts the tables on the devices, if they are to be there."""
    self._host_tables = make_tables(dataset)
    self._on_device, self._share = on_device, dataset.share
    self.tables = parallel.replicate(self._host_tables) if on_device else {}

  def batch(self, groups: np.ndarray) -> dict[str, jax.Array]:
    """Returns this process's share of a global batch, on its devices.

    Args:
      groups: [S, K] question numbers; [n, S, K] for n updates. Of the whole
        batch, unless the process has shards of its own.

    Returns:
      What `complete` takes, with leading axes [devices, S / devices] or
      [devices, n, S / devices].
    """
    axis = groups.ndim - 2
    groups = groups.astype(np.int32)
    if self._share.count == 1:
      groups = parallel.local_rows(groups, axis)
    if self._on_device:
      batch = {"groups": groups}
    elif axis:
      parts = [gather(self._host_tables, part) for part in groups]
      batch = {k: np.stack([part[k] for part in parts]) for k in parts[0]}
    else:
      batch = gather(self._host_tables, groups)
    return parallel.split_over_devices(batch, axis)


def complete(tables: dict, batch: dict[str, jax.Array]) -> dict:
  """Gathers, in a step, what a batch of indices stands for."""
  return gather(tables, batch["groups"]) if tables else batch


def plan_calls(
  steps: range, size: int, pause_due: Callable[[int], bool]
) -> Iterator[range]:
  """Parts updates into calls of the compiled step.

  Args:
    steps: The updates, counted from 0.
    size: Updates of a call.
    pause_due: Whether there is something to do after so many updates.

  Yields:
    The updates of a call: `size` of them, or one where so many would go past
    a pause or the end, so that no more than two programs are compiled.
  """
  start = steps.start
  while start < steps.stop:
    call = range(start, start + size)
    if call.stop > steps.stop or any(pause_due(done) for done in call[1:]):
      call = call[:1]
    yield call
    start = call.stop


def prefetch(
  make: Callable[[Any], Any], steps: Iterable
) -> Generator[Any, None, None]:
  """Yields make(step) for each step, made two steps ahead in a thread."""
  with futures.ThreadPoolExecutor(1) as pool:
    pending = collections.deque()
    try:
      for step in steps:
        pending.append(pool.submit(make, step))
        if len(pending) > 2:
          yield pending.popleft().result()
      while pending:
        yield pending.popleft().result()
    finally:
      for future in pending:
        future.cancel()


def read_ahead(
  feed: Feed,
  order: Callable[[int], np.ndarray],
  calls: Iterable[range],
) -> Generator[dict[str, jax.Array], None, None]:
  """Yields the batches of calls of several updates, made ahead in a thread.

  Args:
    feed: Brings them to the devices.
    order: The groups that an update reads; see train_order.TrainOrder.
    calls: The updates of each call, as many as the one before or one.
  """
  return prefetch(
    lambda steps: feed.batch(np.stack([order(step) for step in steps])), calls
  )
