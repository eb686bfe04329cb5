"""What a picture of a scene shows, pixel by pixel; without JAX."""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_prep.rendering.camera import FRAME, axes_of, camera_of, tangents


class View(NamedTuple):
  """What a picture shows, one ray of unit depth through each pixel's centre.

  Attributes:
    camera: Position.
    axes: Unit vectors right, up and back.
    tangents: Of half the angles of view across and down.
    x: Of each column, along the axis to the right.
    y: Of each row, along the axis up.
  """

  camera: Float[np.ndarray, "3"]
  axes: tuple
  tangents: tuple[float, float]
  x: Float[np.ndarray, " W"]
  y: Float[np.ndarray, " H"]


def view_of(
  scene: dict,
  size: tuple[int, int] = FRAME,
  frame: tuple[int, int] = FRAME,
  camera=None,
) -> View:
  """The view of a scene.

  Args:
    scene: A scene in CLEVR's JSON.
    size: Width and height in pixels.
    frame: Width and height of the pictures that the scene was made for.
    camera: Position of the camera; not given: that of the scene.

  Raises:
    ValueError: The scene does not tell where its camera is.
  """
  camera = (
    camera_of(scene, frame) if camera is None else np.asarray(camera, float)
  )
  return View(camera, axes_of(camera), *_grid(size, frame))


@functools.cache
def _grid(size: tuple[int, int], frame: tuple[int, int]) -> tuple:
  """The parts of a view that do not depend on the camera."""
  (width, height), (tan_x, tan_y) = size, tangents(frame)
  x = tan_x * ((2 * np.arange(width) + 1) / width - 1)
  y = tan_y * (1 - (2 * np.arange(height) + 1) / height)
  return (tan_x, tan_y), x.astype(np.float32), y.astype(np.float32)
