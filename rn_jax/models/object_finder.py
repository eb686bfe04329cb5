"""Objects from pixels: those that a network has learned to find.

Where cells of a convolutional network are taken for objects, the relation core
compares every piece of floor with every other. Here a cell first says whether
an object's centre is in it, and then what stands there, in the words of a state
description. The most certain cells are the objects of the scene, so that a
network that was trained on state descriptions can go on from pixels.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from rn_jax.clevr import ATTRIBUTES, RADIUS
from rn_jax.models.scene import Scene, boxes_of_states
from rn_jax.models.state_encoder import likeliest_states

# Layers of the encoder that halve the picture: 16x16 cells of 128x128 pixels,
# which two centres seldom share.
HALVINGS = 3
# Features of a found object; see encode_states.
FEATURES = 3 + sum(map(len, ATTRIBUTES.values()))
_HIDDEN = 128
# Below this error of a coordinate its loss is no longer linear.
_CLOSE = 0.25


class Found(NamedTuple):
  """What each cell says of the object whose centre it has.

  Attributes:
    presence: Logit of there being one.
    coordinates: x, y, z in the world's units.
    attributes: Logits of the values, by name of the attribute.
  """

  presence: Float[Array, "S cells"]
  coordinates: Float[Array, "S cells 3"]
  attributes: dict[str, Float[Array, "S cells values"]]


class ObjectFinder(nn.Module):
  """Reads off each cell whether an object is there, and which."""

  dtype: DTypeLike

  @nn.compact
  def __call__(self, cells: Float[Array, "S cells F"]) -> Found:
    x = nn.relu(nn.Dense(_HIDDEN, dtype=self.dtype, name="hidden")(cells))
    x = nn.Dense(1 + FEATURES, name="output")(x.astype(jnp.float32))
    ends = np.cumsum([1, 3, *map(len, ATTRIBUTES.values())])[:-1]
    presence, coordinates, *attributes = jnp.split(x, ends, -1)
    names = dict(zip(ATTRIBUTES, attributes, strict=True))
    return Found(presence[..., 0], coordinates, names)


def found_scene(found: Found, num_objects: int) -> Scene:
  """Returns the objects that are more likely there than not, with boxes.

  Of cells that see an object in the same place, as those do that its centre
  lies between, the most certain one counts.

  Args:
    found: Of each cell.
    num_objects: Rows of the result, for the most certain cells.

  Returns:
    Objects as encode_states has them, with the probabilities of the values in
    place of ones and zeros.
  """
  number = min(2 * num_objects, found.presence.shape[1])
  presence, cells = jax.lax.top_k(found.presence, number)
  parts = [found.coordinates, *map(jax.nn.softmax, found.attributes.values())]
  objects = jnp.concatenate(parts, -1)
  objects = jnp.take_along_axis(objects, cells[..., None], 1)
  first = first_of_place(objects[..., :3], presence > 0)
  presence = jnp.where(first, presence, -jnp.inf)
  presence, order = jax.lax.top_k(presence, num_objects)
  objects = jnp.take_along_axis(objects, order[..., None], 1)
  # Where an object is, is learned as its coordinates; and a head that works in
  # blocks takes no gradient of boxes.
  boxes = jax.lax.stop_gradient(boxes_of_states(likeliest_states(objects)))
  return Scene(objects, presence > 0, boxes)


def first_of_place(
  places: Float[Array, "S M 3"], there: Bool[Array, "S M"]
) -> Bool[Array, "S M"]:
  """Returns which objects are not where one before them is.

  Two of CLEVR's are at least two radii of a small one apart on the floor.
  """
  floor = places[..., :2]
  apart = jnp.linalg.norm(floor[:, :, None] - floor[:, None], axis=-1)
  same = apart < 2 * RADIUS["small"]
  first = there
  for i in range(1, there.shape[1]):
    taken = (first[:, :i] & same[:, i, :i]).any(-1)
    first = first.at[:, i].set(first[:, i] & ~taken)
  return first


def finding_loss(
  found: Found, objects: Float[Array, "S N 7"], cell: Int[Array, "S N"]
) -> Float[Array, " S"]:
  """Returns how far off the cells are, in nats and world units.

  Args:
    found: Of each cell.
    objects: Rows of a state description.
    cell: The cell of each object's centre; -1: no object, or one whose cell
      belongs to one nearer to the camera.

  Returns:
    Of each scene, and for each object: the cross entropy of presence, summed
    over cells; those of the attributes; and the errors of the coordinates.
  """
  there = cell >= 0
  count = jnp.maximum(there.sum(-1), 1)
  scene = jnp.arange(len(cell))[:, None]
  num_cells = found.presence.shape[1]
  place = jnp.where(there, cell, num_cells)  # which is dropped
  target = jnp.zeros_like(found.presence).at[scene, place].set(1.0, mode="drop")
  loss = optax.sigmoid_binary_cross_entropy(found.presence, target).sum(-1)
  loss = loss / count

  def over_objects(values):
    return jnp.where(there, values, 0.0).sum(-1) / count

  chosen = cell.clip(0)[..., None]
  for column, logits in enumerate(found.attributes.values(), start=3):
    value = objects[..., column].astype(jnp.int32).clip(1) - 1
    loss += over_objects(
      optax.softmax_cross_entropy_with_integer_labels(
        jnp.take_along_axis(logits, chosen, 1), value
      )
    )
  error = jnp.take_along_axis(found.coordinates, chosen, 1) - objects[..., :3]
  huber = optax.huber_loss(error, delta=_CLOSE).sum(-1) / _CLOSE
  return loss + over_objects(huber)


def cells_of(
  places: Float[np.ndarray, "S N 3"], there: Bool[np.ndarray, "S N"], side: int
) -> Int[np.ndarray, "S N"]:
  """Returns the cells of the objects' centres.

  Args:
    places: Column and row of each in units of the picture's width and height,
      and how far from the camera.
    there: Which objects there are.
    side: Cells in a row, and rows.

  Returns:
    Numbers row by row; -1 where there is no object, or another is nearer in the
    same cell, or the centre is outside of the picture.
  """
  inside = ((places[..., :2] >= 0) & (places[..., :2] < 1)).all(-1) & there
  column_row = np.where(inside[..., None], places[..., :2] * side, 0)
  column, row = np.moveaxis(column_row.astype(np.int32), -1, 0)
  cell = np.where(inside, row * side + column, -1)
  same = (cell[:, :, None] == cell[:, None]) & inside[:, None]
  nearer = places[:, None, :, 2] < places[:, :, None, 2]
  return np.where((same & nearer).any(-1), -1, cell).astype(np.int32)
