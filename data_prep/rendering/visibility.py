"""How much of each object the camera sees, exactly and without JAX.

CLEVR keeps a scene only if every object shows at least 200 pixels. What counts
is a picture of the objects alone, 480x320 with one sample at the centre of each
pixel: neither the ground nor the light plays a part.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
from jaxtyping import Float, Int, Int8

from data_prep.rendering import geometry
from data_prep.rendering.scene_arrays import Objects, objects_of
from data_prep.rendering.view import View, view_of
from rn_jax.clevr import MIN_VISIBLE_PIXELS

Window = tuple[slice, slice]  # rows and columns of a picture

NOTHING = -1

_CORNERS = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, 8)


def all_visible(
  scene: dict, min_pixels: int = MIN_VISIBLE_PIXELS, camera=None, of=None
) -> bool:
  """Whether every object shows at least so many pixels: CLEVR's rule.

  Agrees with `visible_pixels`, but looks only where it has to.

  Args:
    scene: A scene in CLEVR's JSON.
    min_pixels: Fewest visible pixels in a 480x320 picture.
    camera: Position of the camera; not given: that of the scene.
    of: Indices of the objects to look at; not given: all.

  Raises:
    ValueError: The scene is not as CLEVR describes scenes.
  """
  objects, view = objects_of(scene), view_of(scene, camera=camera)
  windows = _windows(objects, view)
  with np.errstate(over="ignore", invalid="ignore"):
    return all(
      _is_visible(objects, i, view, windows, min_pixels)
      for i in (range(len(windows)) if of is None else of)
    )


def _is_visible(objects, i, view: View, windows, min_pixels: int) -> bool:
  """Whether one object shows so many pixels, looking at its window alone."""
  distance = _distances(objects, i, view, windows[i])
  seen = distance < np.inf
  left = int(seen.sum())
  if left < min_pixels:
    return False
  farthest = distance[seen].max(initial=0)
  nearest = (view.camera - objects.center) @ view.axes[2] - objects.bound
  # What each object that may be nearer can hide at most.
  threats = []
  for j in np.flatnonzero(nearest <= farthest):
    common, inner = _common(windows[j], windows[i])
    pixels = int(seen[inner].sum())
    if j != i and pixels:
      threats.append((pixels, int(j), common, inner))
  threats.sort()
  while sum(pixels for pixels, *_ in threats) > left - min_pixels:
    _, j, common, inner = threats.pop()
    other = _distances(objects, j, view, common)
    # Of two at the same distance the first is seen.
    hides = np.less_equal if j < i else np.less
    seen[inner] &= ~hides(other, distance[inner])
    left = int(seen.sum())
    if left < min_pixels:
      return False
  return True


def _common(one, other) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
  """What two windows share, in the picture and within the other one."""
  shared, within = [], []
  for a, b in zip(one, other, strict=True):
    start = max(a.start, b.start)
    stop = max(min(a.stop, b.stop), start)
    shared.append(slice(start, stop))
    within.append(slice(start - b.start, stop - b.start))
  return tuple(shared), tuple(within)


def visible_pixels(scene: dict, camera=None) -> Int[np.ndarray, " N"]:
  """Visible pixels of each object in a 480x320 picture.

  Args:
    scene: A scene in CLEVR's JSON.
    camera: Position of the camera; not given: that of the scene.

  Returns:
    Counts in the order of the scene's objects.

  Raises:
    ValueError: The scene is not as CLEVR describes scenes.
  """
  ids = object_ids(scene, camera)
  return np.bincount(ids[ids >= 0], minlength=len(scene["objects"]))


def _distances(objects: Objects, i: int, view: View, window) -> np.ndarray:
  origin, direction = _rays(objects, i, view, window)
  return _ENTER[objects.shape[i]](origin, direction)


def object_ids(scene: dict, camera=None) -> Int8[np.ndarray, "320 480"]:
  """Index of the nearest object at each pixel, NOTHING for none.

  Arguments and errors are those of `visible_pixels`.
  """
  view = view_of(scene, camera=camera)
  return nearest_objects(view, object_depths(scene, view))[0]


def object_depths(
  scene: dict, view: View
) -> Iterator[tuple[Window, Float[np.ndarray, "h w"]]]:
  """Yields of each object a window that holds it, and its depths there.

  Depths are along the optical axis in world units, inf beside the object.
  """
  objects = objects_of(scene)
  # Rays that miss a shape run far away from it before they are given up.
  with np.errstate(over="ignore", invalid="ignore"):
    for i, window in enumerate(_windows(objects, view)):
      yield window, _distances(objects, i, view, window)


def nearest_objects(
  view: View, depths
) -> tuple[Int8[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
  """Index of the nearest object at each pixel, NOTHING for none; its depth.

  Args:
    view: What the picture shows.
    depths: Those of all objects, from `object_depths`.
  """
  ids = np.full((len(view.y), len(view.x)), NOTHING, np.int8)
  nearest = np.full(ids.shape, np.inf, np.float32)
  for i, (window, depth) in enumerate(depths):
    nearer = depth < nearest[window]
    ids[window][nearer] = i
    np.minimum(nearest[window], depth, out=nearest[window])
  return ids, nearest


def _windows(objects: Objects, view: View) -> list[Window]:
  """Rows and columns of the picture that hold each object."""
  x, y, z = _CORNERS[:, None] * objects.scale[:, None]
  rotation = objects.cosine[:, None], objects.sine[:, None]
  corners = np.stack(geometry.to_world((x, y, z), *rotation), -1)  # [N, 8, 3]
  from_camera = corners + objects.center[:, None] - view.camera
  seen = from_camera @ np.array(view.axes).T
  depth = np.maximum(-seen[..., 2], 1e-6)
  (tan_x, tan_y), width, height = view.tangents, len(view.x), len(view.y)
  columns = width / 2 * (1 + seen[..., 0] / depth / tan_x)
  rows = height / 2 * (1 - seen[..., 1] / depth / tan_y)
  return list(zip(_spans(rows, height), _spans(columns, width), strict=True))


def _spans(values: np.ndarray, size: int) -> list[slice]:
  starts = np.clip(values.min(-1).astype(int) - 1, 0, size)
  stops = np.clip(values.max(-1).astype(int) + 2, starts, size)
  return [*map(slice, starts.tolist(), stops.tolist())]


def _rays(objects: Objects, i: int, view: View, window):
  """Rays through the window's pixel centres, in the object's units.

  Their directions have unit depth, so that distances are depths.
  """
  rows, columns = window
  rotation = float(objects.cosine[i]), float(objects.sine[i])
  place = objects.center[i].astype(float), float(objects.scale[i]), *rotation
  camera, axes = view.camera, view.axes
  turned = [geometry.to_object(camera, axis, *place)[1] for axis in axes]
  origin, _ = geometry.to_object(camera, axes[0], *place)
  direction = tuple(
    view.x[columns] * np.float32(right)
    + (view.y[rows, None] * np.float32(up))
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
  partial(geometry.enter_cone, xp=np),
  partial(geometry.enter_capsule, xp=np),
)
