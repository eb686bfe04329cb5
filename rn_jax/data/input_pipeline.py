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


def group_questions(
  scene: np.ndarray, per_group: int, rng: np.random.Generator | None = None
) -> np.ndarray:
  """Groups questions by scene.

  Args:
    scene: [Q] the scene of each question.
    per_group: Questions in a group, K. A scene with more fills several.
    rng: Shuffles the questions within their scenes, and the groups. None:
      everything stays in order.

  Returns:
    [G, K] int64 question numbers, -1 in places left empty; each question is
    there once.
  """
  if per_group == 1 and rng is not None:
    return rng.permutation(len(scene))[:, None]
  tie = np.arange(len(scene)) if rng is None else rng.random(len(scene))
  order = np.lexsort((tie, scene))
  _, first, count = np.unique(
    scene[order], return_index=True, return_counts=True
  )
  position = np.arange(len(scene)) - np.repeat(first, count)
  groups_of_scene = -(-count // per_group)
  first_group = np.cumsum(groups_of_scene) - groups_of_scene
  group = np.repeat(first_group, count) + position // per_group
  groups = np.full((groups_of_scene.sum(), per_group), -1)
  groups[group, position % per_group] = order
  return groups if rng is None else rng.permutation(groups)


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
    `object_mask` [S, N].
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
    self._on_device = on_device
    self.tables = parallel.replicate(self._host_tables) if on_device else {}

  def batch(self, groups: np.ndarray) -> dict[str, jax.Array]:
    """Returns this process's share of a global batch, on its devices.

    Args:
      groups: [S, K] question numbers; [n, S, K] for n updates.

    Returns:
      What `complete` takes, with leading axes [devices, S / devices] or
      [devices, n, S / devices].
    """
    axis = groups.ndim - 2
    groups = parallel.local_rows(groups.astype(np.int32), axis)
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


class TrainOrder:
  """The endless order of training questions, a pure function of the step.

  Each epoch holds every question once, in an order of its own; epochs follow
  each other without a gap, so a batch may span two.
  """

  def __init__(
    self, scene: np.ndarray, batch_size: int, per_scene: int, seed: int
  ):
    """Plans the order.

    Args:
      scene: [Q] the scene of each question.
      batch_size: Questions per step, over all processes.
      per_scene: Questions of a scene that stay together.
      seed: Root of the order.

    Raises:
      ValueError: The batch does not hold a whole number of groups.
    """
    if batch_size % per_scene:
      raise ValueError(
        f"config.train.batch_size={batch_size} is not a multiple of "
        f"config.data.questions_per_scene={per_scene}"
      )
    self._scene, self._per_scene, self._seed = scene, per_scene, seed
    self._groups_per_step = batch_size // per_scene
    counts = np.bincount(scene)
    self._groups_per_epoch = int((-(-counts // per_scene)).sum())
    self._epochs: dict[int, futures.Future] = {}
    self._pool = futures.ThreadPoolExecutor(1)

  @property
  def steps_per_epoch(self) -> float:
    return self._groups_per_epoch / self._groups_per_step

  def num_steps(self, epochs: float, unit: str = "questions") -> int:
    """Returns the number of updates that come nearest to so many epochs.

    Args:
      epochs: May be a fraction.
      unit: What is read, for the error.

    Raises:
      ValueError: They are none, and nothing would be learned.
    """
    exact = epochs * self.steps_per_epoch
    if not exact > 0.5:  # round(0.5) is 0
      batch_size = self._groups_per_step * self._per_scene
      raise ValueError(
        f"{len(self._scene):,} {unit}, read in batches of {batch_size:,} for "
        f"{epochs:g} epochs, are {exact:.2g} updates, so nothing would be "
        f"learned: take more {unit}, a smaller --config.train.batch_size or "
        "more --config.train.num_epochs"
      )
    return round(exact)

  def _epoch(self, epoch: int) -> np.ndarray:
    for number in (epoch, epoch + 1):  # the next one is made meanwhile
      if number not in self._epochs:
        self._epochs[number] = self._pool.submit(self._make_epoch, number)
    groups = self._epochs[epoch].result()
    # Only neighbours are ever needed together.
    self._epochs = {k: v for k, v in self._epochs.items() if k >= epoch - 1}
    return groups

  def _make_epoch(self, epoch: int) -> np.ndarray:
    rng = np.random.default_rng((self._seed, epoch))
    return group_questions(self._scene, self._per_scene, rng)

  def __call__(self, step: int) -> np.ndarray:
    """Returns the groups [S, K] that update number `step` (from 0) reads."""
    start = step * self._groups_per_step
    positions = np.arange(start, start + self._groups_per_step)
    epochs, rows = np.divmod(positions, self._groups_per_epoch)
    return np.concatenate(
      [
        self._epoch(int(epoch))[rows[epochs == epoch]]
        for epoch in np.unique(epochs)
      ]
    )


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
