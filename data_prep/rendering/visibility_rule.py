"""CLEVR's visibility rule: every object shows enough of itself to the camera.

Counting pixels takes longer than making a scene and its questions. But most
objects are plainly visible: the disc that an object covers at least, less all
that nearer objects can cover of it at most, is enough. Only the pixels of the
others are looked at. Both ways agree on every scene.
"""

import math

from data_prep.rendering.camera import TAN_X
from data_prep.rendering.geometry import CAPSULE_RADIUS
from data_prep.rendering.visibility import all_visible
from data_prep.world import world_of
from rn_jax.clevr import HEIGHT, WIDTH

# Half the width of the horizontal sections, in units of the radius, whatever
# the rotation; a little more than measured.
_HALF_WIDTH = {
  "sphere": 1.0,
  "cube": 1.36,
  "cylinder": 1.01,
  "cone": 1.0,
  "capsule": CAPSULE_RADIUS,
}
# Radius of a ball about the centre that it holds, likewise: all but these hold
# that of their own radius.
_CORE = {"cone": 5**-0.5, "capsule": CAPSULE_RADIUS}
_SCALE = WIDTH / 2 / TAN_X  # pixels for a unit at depth one


def shows_every_object(scene: dict, min_pixels: int) -> bool:
  """Whether each object has so many visible pixels in a 480x320 picture.

  Args:
    scene: A scene in CLEVR's JSON, with its "camera".
    min_pixels: Fewest pixels of an object; 200 in CLEVR.
  """
  unclear = _unclear(scene, min_pixels)
  return not unclear or all_visible(scene, min_pixels, of=unclear)


def _unclear(scene: dict, min_pixels: int) -> list[int]:
  """The objects that may show less; the others certainly do not."""
  outlines = _outlines(scene)
  unclear = []
  for i, (column, row, radius, depth, *_) in enumerate(outlines):
    left, right = column - radius, column + radius
    top, bottom = row - radius, row + radius
    if left < 0 or right > WIDTH or top < 0 or bottom > HEIGHT:
      unclear.append(i)
      continue
    # A disc of radius r holds at least pi (r - sqrt(1/2))² pixel centres.
    pixels = math.pi * max(radius - 0.75, 0) ** 2
    for j, (*_, nearest, x0, x1, y0, y1) in enumerate(outlines):
      if j != i and nearest < depth:
        width = min(x1, right) - max(x0, left)
        height = min(y1, bottom) - max(y0, top)
        if width > 0 and height > 0:
          pixels -= (width + 1) * (height + 1)
    if pixels < min_pixels:
      unclear.append(i)
  return unclear


def _outlines(scene: dict) -> list[tuple[float, ...]]:
  """What each object covers at least and at most, in pixels.

  Returns:
    For each object column, row, radius and depth of a disc that it covers;
    its least depth; and the left, right, top and bottom of its picture.
  """
  camera = scene["camera"]
  distance = math.hypot(*camera)
  back_x, back_y, back_z = (c / distance for c in camera)
  level = math.hypot(back_x, back_y)
  right_x, right_y = -back_y / level, back_x / level
  up_x, up_y = -back_z * right_y, back_z * right_x
  outlines = []
  world = world_of(scene)
  for thing in scene["objects"]:
    x, y, z = thing["3d_coords"]
    size, solid = world.sizes[thing["size"]], world.shapes[thing["shape"]]
    across = x * right_x + y * right_y
    above = x * up_x + y * up_y + z * level
    depth = distance - (x * back_x + y * back_y + z * back_z)
    # Half the extent along the camera's axes.
    half = _HALF_WIDTH[solid] * size
    if solid == "sphere":
      tall = deep = half
    else:
      tall = half * back_z + size * level
      deep = half * level + size * back_z
    nearest, farthest = depth - deep, depth + deep
    outlines.append(
      (
        WIDTH / 2 + _SCALE * across / depth,
        HEIGHT / 2 - _SCALE * above / depth,
        _SCALE * size * _CORE.get(solid, 1) / depth,
        depth,
        nearest,
        WIDTH / 2 + _SCALE * _least(across - half, nearest, farthest),
        WIDTH / 2 - _SCALE * _least(-across - half, nearest, farthest),
        HEIGHT / 2 + _SCALE * _least(-above - tall, nearest, farthest),
        HEIGHT / 2 - _SCALE * _least(above - tall, nearest, farthest),
      )
    )
  return outlines


def _least(offset: float, nearest: float, farthest: float) -> float:
  """The least ratio of an offset to a depth between two."""
  return offset / (nearest if offset < 0 else farthest)
