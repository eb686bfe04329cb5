"""Endless epochs over some questions, and how they are grouped by scene."""

from concurrent import futures

import numpy as np


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


def count_groups(scene: np.ndarray, per_group: int) -> int:
  """Returns how many groups `group_questions` makes."""
  return int((-(-np.bincount(scene) // per_group)).sum())


def draw_balanced(answer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Draws as many questions as there are, all answers alike often.

  Args:
    answer: [Q] of each question.
    rng: Draws an answer, and then one of its questions, again and again.

  Returns:
    [Q] int64 question numbers; rare answers' questions are there repeatedly.
  """
  order = np.argsort(answer, kind="stable")
  _, first, count = np.unique(
    answer[order], return_index=True, return_counts=True
  )
  chosen = rng.integers(0, len(first), len(answer))
  place = rng.random(len(answer)) * count[chosen]
  return order[first[chosen] + place.astype(int)]


class Epochs:
  """Endless epochs over some questions, each in an order of its own.

  Each question is there once, or all answers are alike often.
  """

  def __init__(
    self,
    scene: np.ndarray,
    rows: np.ndarray | None,
    per_scene: int,
    seed,
    answer: np.ndarray | None,
  ):
    self._scene = scene if rows is None else scene[rows]
    self._answer = answer if answer is None or rows is None else answer[rows]
    self._rows, self._per_scene, self._seed = rows, per_scene, seed
    self.groups_per_epoch = count_groups(self._scene, per_scene)
    self._made: dict[int, futures.Future] = {}
    self._pool = futures.ThreadPoolExecutor(1)

  def read(self, start: int, number: int) -> np.ndarray:
    """Returns groups [number, K] from position `start` on."""
    epochs, rows = np.divmod(
      np.arange(start, start + number), self.groups_per_epoch
    )
    return np.concatenate(
      [
        self._epoch(int(epoch))[rows[epochs == epoch]]
        for epoch in np.unique(epochs)
      ]
    )

  def _epoch(self, epoch: int) -> np.ndarray:
    for number in (epoch, epoch + 1):  # the next one is made meanwhile
      if number not in self._made:
        self._made[number] = self._pool.submit(self._make, number)
    groups = self._made[epoch].result()
    # Only neighbours are ever needed together.
    self._made = {k: v for k, v in self._made.items() if k >= epoch - 1}
    return groups

  def _make(self, epoch: int) -> np.ndarray:
    rng = np.random.default_rng((*self._seed, epoch))
    if self._answer is not None:
      groups = draw_balanced(self._answer, rng)[:, None]
    else:
      groups = group_questions(self._scene, self._per_scene, rng)
    if self._rows is None:
      return groups
    return np.where(groups >= 0, self._rows[groups], -1)
