"""Which pairs of objects decided an answer.

The part of one pair can be left out of the sum over pairs: by how much the
winning answer's logit falls then is what the pair contributed. Logits are those
of the softmax, log-probabilities, so that only what tells answers apart counts.
That costs one pass of g_theta, and one of f_phi for each pair.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rn_jax.clevr import ATTRIBUTES
from rn_jax.data.states import attribute_values
from rn_jax.models.scene import Scene, boxes_of_states, grid_boxes
from rn_jax.models.state_encoder import likeliest_states

# Nats below which nothing is said of a contribution.
_LEAST = 0.01


class Why(NamedTuple):
  """What led to an answer.

  Attributes:
    answer: The most probable one.
    probability: Of it.
    contributions: [N, N], by how many nats its log-probability falls without
      the pair of the first object and the second; 0 where one is absent.
    names: Of the N objects.
    boxes: Of them, [N, 4], in units of the picture's width and height.
  """

  answer: str
  probability: float
  contributions: np.ndarray
  names: list[str]
  boxes: np.ndarray

  def strongest(self, number: int = 5) -> list[tuple[int, int]]:
    """Returns the pairs that contributed most, in either direction.

    Args:
      number: At most so many; those that made no difference are left out.
    """
    size = np.abs(self.contributions)
    order = np.argsort(-size, axis=None, kind="stable")[:number]
    pairs = [divmod(int(i), len(self.names)) for i in order]
    return [pair for pair in pairs if size[pair] >= _LEAST]

  def lines(self, number: int = 5) -> list[str]:
    """Returns the strongest pairs in words, with their contributions."""
    pairs = self.strongest(number)
    if not pairs:
      return ["none alone: without any one of them the answer is the same"]
    return [
      f"{self.contributions[i, j]:+7.2f}  {self.names[i]}"
      + (" (alone)" if i == j else f" - {self.names[j]}")
      for i, j in pairs
    ]


def describe_objects(scene: Scene, cells: bool) -> tuple[list[str], np.ndarray]:
  """Returns names and boxes of the objects of one scene.

  Args:
    scene: As an encoder gives it; one scene.
    cells: Whether its objects are cells of a grid.
  """
  objects = scene.objects
  if cells:
    side = math.isqrt(objects.shape[1])
    names = [
      f"row {i // side + 1}, column {i % side + 1}" for i in range(side**2)
    ]
    return names, np.asarray(grid_boxes(side, side))
  raw = objects.shape[-1] == 3 + len(ATTRIBUTES)  # rows of states themselves
  states = objects if raw else likeliest_states(objects)
  states *= jnp.any(objects != 0, -1, keepdims=True)
  if scene.mask is not None:
    states *= scene.mask[..., None]
  names = [_name(row) for row in np.asarray(states[0])]
  return names, np.asarray(boxes_of_states(states)[0])


def _name(row: np.ndarray) -> str:
  if not row[3:].all():
    return "nothing"
  values = attribute_values(row)
  order = ("size", "color", "material", "shape")
  return " ".join(values[name] for name in order)
