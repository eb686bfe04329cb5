"""What encoders hand on: the objects of scenes, and where they are."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rn_jax.clevr import (
  ATTRIBUTES,
  CAMERA_NEAREST,
  CAMERA_POSITION,
  CAMERA_TAN_X,
  CAMERA_TAN_Y,
  RADIUS,
)

# The whole picture: what stands in for the box of an absent object.
_PICTURE = (0.0, 0.0, 1.0, 1.0)


class Scene(NamedTuple):
  """S scenes of N objects.

  Attributes:
    objects: Features, [S, N, F].
    mask: Which objects there are, [S, N] bool; None: all.
    boxes: Left, upper, right and lower edge in units of the picture's width
      and height, [S, N, 4], or [1, N, 4] for all scenes; None: unknown.
  """

  objects: Float[Array, "S N F"]
  mask: Bool[Array, "S N"] | None = None
  boxes: Float[Array, "#S N 4"] | None = None


def present_objects(
  objects: Float[Array, "S N F"], mask: Bool[Array, "S N"] | None
) -> Float[Array, "S N F"]:
  """Returns the objects with zeros for absent ones, whatever stood there."""
  if mask is None:
    return objects
  return jnp.where(mask[..., None], objects, jnp.zeros((), objects.dtype))


def present_boxes(
  boxes: Float[Array, "#S N 4"], mask: Bool[Array, "S N"] | None
) -> Float[Array, "#S N 4"]:
  """Returns the boxes with the whole picture for absent objects.

  A box without extent would make not-a-number of the logarithm of its size,
  and of the gradient even where the result is masked later.
  """
  if mask is None:
    return boxes
  return jnp.where(mask[..., None], boxes, jnp.array(_PICTURE, boxes.dtype))


def grid_boxes(height: int, width: int) -> Float[Array, "cells 4"]:
  """Returns the boxes of a grid's cells, row by row as ConvEncoder has them."""
  row, column = jnp.divmod(jnp.arange(height * width), width)
  left_upper = jnp.stack([column, row], -1)
  edges = jnp.concatenate([left_upper, left_upper + 1], -1)
  return edges / jnp.array([width, height, width, height], jnp.float32)


def project(
  points: Float[Array, "*P 3"],
) -> tuple[Float[Array, "*P 2"], Float[Array, "*P 2"]]:
  """Returns where the camera that CLEVR's cameras are near sees points.

  Args:
    points: In world units.

  Returns:
    Their places in units of the picture's width and height, from its upper left
    corner; and half of what the picture shows at their depth, across and along,
    in world units.
  """
  back = jnp.array(CAMERA_POSITION) / jnp.linalg.norm(
    jnp.array(CAMERA_POSITION)
  )
  right = jnp.stack([-back[1], back[0], jnp.zeros(())])
  right /= jnp.linalg.norm(right)
  up = jnp.cross(back, right)
  depth = jnp.linalg.norm(jnp.array(CAMERA_POSITION)) - points @ back
  depth = jnp.maximum(depth, CAMERA_NEAREST)
  half = depth[..., None] * jnp.array([CAMERA_TAN_X, CAMERA_TAN_Y])
  offset = jnp.stack([points @ right, -(points @ up)], -1)
  return (1 + offset / half) / 2, half


def boxes_of_states(objects: Float[Array, "S N 7"]) -> Float[Array, "S N 4"]:
  """Returns where CLEVR's camera sees the objects of state descriptions.

  The camera is the one that all scenes' cameras are near: its jitter, which a
  state description does not hold, moves a centre by several pixels.

  Args:
    objects: As encode_states takes them: x, y, z and indices from 1.

  Returns:
    The boxes around the balls of the objects' radii; a cube's corners and a
    cylinder's edges stand out of them. The whole picture where a row is zeros.
  """
  objects = objects.astype(jnp.float32)
  center, half = project(objects[..., :3])
  column = 3 + list(ATTRIBUTES).index("size")
  index = objects[..., column].astype(jnp.int32) - 1
  radius = jnp.array([RADIUS[size] for size in ATTRIBUTES["size"]])[index]
  reach = radius[..., None] / half / 2
  boxes = jnp.concatenate([center - reach, center + reach], -1)
  return present_boxes(boxes, jnp.any(objects != 0, -1))
