"""Scenes of state descriptions as CLEVR's camera sees them, roughly."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Polygon
from scipy.spatial import ConvexHull

from rn_jax.clevr import CAMERA_POSITION, HEIGHT, RADIUS, RGB, WIDTH
from rn_jax.data.states import attribute_values
from rn_jax.models.scene import project

_GROUND = "#c8c8c8"
_CAMERA = np.array(CAMERA_POSITION)
# Light comes from above and from the left of the picture.
_LIGHT = np.array([-0.2, -0.55, 0.81])
_CIRCLE = np.stack(
  [f(np.linspace(0, 2 * np.pi, 32, endpoint=False)) for f in (np.cos, np.sin)],
  axis=-1,
)


def draw_scene(rows: np.ndarray) -> Figure:
  """Draws objects as shaded shapes, with a glint where they are of metal.

  A description does not hold which way cubes are turned, nor how the scene's
  own camera was moved: cubes stand alike, and all is as from the camera that
  all are near.

  Args:
    rows: State description [N, 7]; rows of zeros are no objects.
  """
  figure = Figure((3.0, 2.0), facecolor=_GROUND)
  axes = figure.add_axes((0, 0, 1, 1))
  axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0), aspect="equal")
  axes.set_axis_off()
  rows = rows[rows.any(-1)]
  radii = [RADIUS[attribute_values(row)["size"]] for row in rows]
  for row, radius in zip(rows, radii, strict=True):
    shadow = np.pad(1.12 * radius * _CIRCLE + row[:2], ((0, 0), (0, 1)))
    _fill(axes, shadow, "#000000", alpha=0.16)
  distances = np.linalg.norm(rows[:, :3] - _CAMERA, axis=1)
  for i in np.argsort(-distances):  # the nearer ones on top
    _draw_object(axes, rows[i], radii[i])
  return figure


def _draw_object(axes: Axes, row: np.ndarray, radius: float) -> None:
  values = attribute_values(row)
  color, center = np.array(RGB[values["color"]]) / 255, row[:3]
  match values["shape"]:
    case "cube":
      for axis in range(3):
        for side in (-1, 1):
          normal = side * np.eye(3)[axis]
          face = center + radius * normal
          if normal @ (_CAMERA - face) > 0:
            across = np.roll(np.eye(3), -axis - 1, axis=0)[:2] * radius
            corners = [[1, 1], [1, -1], [-1, -1], [-1, 1]] @ across + face
            _fill(axes, corners, _shade(color, normal))
    case "cylinder":
      rim = np.pad(radius * _CIRCLE, ((0, 0), (0, 1))) + center
      height = np.array([0, 0, radius])
      top, bottom = rim + height, rim - height
      side = np.concatenate([top, bottom])
      hull = ConvexHull(_places(side)).vertices
      _fill(axes, side[hull], _shade(color, np.array([0.55, -0.8, 0.0])))
      _fill(axes, top, _shade(color, np.array([0.0, 0.0, 1.0])))
    case _:
      middle, size = _places(center), 2 * radius * _pixels(center)
      _ellipse(axes, middle, size, size, color=0.62 * color)
      for step in np.linspace(0.9, 0.2, 8):  # lighter towards the light
        lit = color + (1 - step) * 0.5 * (1 - color)
        place = middle - size * (1 - step) * np.array([0.3, 0.36])
        _ellipse(axes, place, step * size, step * size, color=lit, alpha=0.35)
  if values["material"] == "metal":
    _draw_glint(axes, center, radius, values["shape"])


def _draw_glint(
  axes: Axes, center: np.ndarray, radius: float, shape: str
) -> None:
  scale = radius * _pixels(center)
  # On the front of a sphere, on the upper face of what has one.
  offset = {"sphere": (-0.3, -0.4)}.get(shape, (-0.12, -0.86))
  place = _places(center) + scale * np.array(offset)
  for width, alpha in ((0.62 * scale, 0.35), (0.36 * scale, 0.9)):
    _ellipse(
      axes, place, width, 0.6 * width, angle=-20, color="white", alpha=alpha
    )


def _ellipse(
  axes: Axes, place: np.ndarray, width: float, height: float, **style: Any
) -> None:
  x, y = place.tolist()
  axes.add_patch(Ellipse((x, y), width, height, lw=0, **style))


def _shade(color: np.ndarray, normal: np.ndarray) -> np.ndarray:
  light = max(float(normal @ _LIGHT), 0.0)
  return np.clip(color * (0.55 + 0.5 * light) + 0.12 * light, 0, 1)


def _fill(axes: Axes, points: np.ndarray, color, alpha: float = 1) -> None:
  axes.add_patch(
    Polygon(_places(points), closed=True, color=color, alpha=alpha, lw=0.3)
  )


def _places(points: np.ndarray) -> np.ndarray:
  """Places in CLEVR's pictures of points [..., 3], in pixels, [..., 2]."""
  places, _ = project(jnp.asarray(points, jnp.float32))
  return np.asarray(places) * [WIDTH, HEIGHT]


def _pixels(point: np.ndarray) -> float:
  """Pixels of a world unit at the depth of a point [3]."""
  _, half = project(jnp.asarray(point, jnp.float32))
  return WIDTH / 2 / float(half[0])
