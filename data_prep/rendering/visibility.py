"""How much of each object the camera sees, exactly and without JAX.

CLEVR keeps a scene only if every object shows at least 200 pixels. What counts
is a picture of the objects alone, 480x320 with one sample at the centre of each
pixel: neither the ground nor the light plays a part.
"""

from functools import partial

import numpy as np

from data_prep.rendering import geometry
from data_prep.rendering.camera import (
  HEIGHT,
  TAN_X,
  TAN_Y,
  WIDTH,
  axes_of,
  camera_of,
)
from data_prep.rendering.scene_arrays import Objects, objects_of

MIN_PIXELS = 200  # of each object, from CLEVR's generator
NOTHING = -1

_X = (TAN_X * ((2 * np.arange(WIDTH) + 1) / WIDTH - 1)).astype(np.float32)
_Y = (TAN_Y * (1 - (2 * np.arange(HEIGHT) + 1) / HEIGHT)).astype(np.float32)
_CORNERS = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, 8)


def visible_pixels(scene: dict, camera=None, of=None) -> np.ndarray:
  """Visible pixels of each object in a 480x320 picture.

  Args:
    scene: A scene in CLEVR's JSON.
    camera: Position of the camera; not given: that of the scene.
    of: Indices of the objects to count, which is quick for a few; not given:
      all.

  Returns:
    Counts in the order of the scene's objects, or in that of `of`, int [N].

  Raises:
    ValueError: The scene is not as CLEVR describes scenes.
  """
  if of is not None:
    objects, camera, axes = _prepare(scene, camera)
    windows = [
      _window(objects, i, camera, axes) for i in range(len(objects.scale))
    ]
    with np.errstate(over="ignore", invalid="ignore"):
      counts = [_count(objects, i, camera, axes, windows) for i in of]
    return np.array(counts, int)
  ids = object_ids(scene, camera)
  return np.bincount(ids[ids >= 0], minlength=len(scene["objects"]))


def _prepare(scene: dict, camera) -> tuple[Objects, np.ndarray, tuple]:
  camera = camera_of(scene) if camera is None else np.asarray(camera, float)
  return objects_of(scene), camera, axes_of(camera)


def _count(objects: Objects, i: int, camera, axes, windows) -> int:
  """Visible pixels of one object, looking at its window alone."""
  window = windows[i]
  distance = _distances(objects, i, camera, axes, window)
  seen = distance < np.inf
  for j in range(len(objects.scale)):
    common = tuple(
      slice(max(a.start, b.start), min(a.stop, b.stop))
      for a, b in zip(window, windows[j], strict=True)
    )
    if j == i or any(span.start >= span.stop for span in common):
      continue
    inner = tuple(
      slice(span.start - whole.start, span.stop - whole.start)
      for span, whole in zip(common, window, strict=True)
    )
    other = _distances(objects, j, camera, axes, common)
    # Of two at the same distance the first is seen.
    hides = np.less_equal if j < i else np.less
    seen[inner] &= ~hides(other, distance[inner])
  return int(seen.sum())


def _distances(objects: Objects, i: int, camera, axes, window) -> np.ndarray:
  origin, direction = _rays(objects, i, camera, axes, window)
  return _ENTER[objects.shape[i]](origin, direction)


def object_ids(scene: dict, camera=None) -> np.ndarray:
  """Index of the nearest object at each pixel, NOTHING for none.

  Arguments and errors are those of `visible_pixels`.

  Returns:
    int8 [320, 480].
  """
  objects, camera, axes = _prepare(scene, camera)
  ids = np.full((HEIGHT, WIDTH), NOTHING, np.int8)
  nearest = np.full((HEIGHT, WIDTH), np.inf, np.float32)
  # Rays that miss a shape run far away from it before they are given up.
  with np.errstate(over="ignore", invalid="ignore"):
    for i in range(len(objects.scale)):
      window = _window(objects, i, camera, axes)
      distance = _distances(objects, i, camera, axes, window)
      nearer = distance < nearest[window]
      ids[window][nearer] = i
      np.minimum(nearest[window], distance, out=nearest[window])
  return ids


def _window(objects: Objects, i: int, camera, axes) -> tuple[slice, slice]:
  """Rows and columns of the picture that hold the object."""
  x, y, z = _CORNERS * float(objects.scale[i])
  cosine, sine = float(objects.cosine[i]), float(objects.sine[i])
  corners = np.array(geometry.to_world((x, y, z), cosine, sine)).T
  seen = (corners + objects.center[i] - camera) @ np.array(axes).T
  depth = np.maximum(-seen[:, 2], 1e-6)
  columns = WIDTH / 2 * (1 + seen[:, 0] / depth / TAN_X)
  rows = HEIGHT / 2 * (1 - seen[:, 1] / depth / TAN_Y)
  return _span(rows, HEIGHT), _span(columns, WIDTH)


def _span(values: np.ndarray, size: int) -> slice:
  start = min(max(int(values.min()) - 1, 0), size)
  return slice(start, max(min(int(values.max()) + 2, size), start))


def _rays(objects: Objects, i: int, camera, axes, window):
  """Rays through the window's pixel centres, in the object's units.

  Their directions have unit depth, so that distances are depths.
  """
  rows, columns = window
  rotation = float(objects.cosine[i]), float(objects.sine[i])
  place = objects.center[i].astype(float), float(objects.scale[i]), *rotation
  turned = [geometry.to_object(camera, axis, *place)[1] for axis in axes]
  origin, _ = geometry.to_object(camera, axes[0], *place)
  direction = tuple(
    _X[columns] * np.float32(right)
    + (_Y[rows, None] * np.float32(up))
    - np.float32(back)
    for right, up, back in zip(*turned, strict=True)
  )
  return tuple(np.float32(o) for o in origin), direction


def _enter_rounded(box, excess, origin, direction) -> np.ndarray:
  """As geometry's, but takes its steps only where one is due."""
  near, far = box(origin, direction, np)
  distance = np.where(near < far, near, np.float32(np.inf)).ravel()
  flat = [d.ravel() for d in direction]
  due = np.flatnonzero(near < far)
  for last in [False] * geometry.STEPS + [True]:
    at, rays = distance[due], [d[due] for d in flat]
    over, slope, gain = excess(origin, rays, at, np)
    if last:
      distance[due[~(over < geometry.TOLERANCE)]] = np.inf
      break
    distance[due] = geometry.step(at, over, slope, gain, np)
    due = due[~(over <= 0)]
  return distance.reshape(near.shape)


_ENTER = (
  partial(geometry.enter_sphere, xp=np),
  partial(_enter_rounded, geometry.box_cube, geometry.excess_cube),
  partial(_enter_rounded, geometry.box_cylinder, geometry.excess_cylinder),
)
