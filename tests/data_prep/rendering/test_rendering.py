"""The renderer's parts: camera, shapes, ground, lamps, visible pixels, film."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from data_prep.generation.scenes import sample_scene
from data_prep.rendering import camera, film, geometry, ground, lamps, trace
from data_prep.rendering.engine import stage_of
from data_prep.rendering.picture import SMALL_TILES, index_picture
from data_prep.rendering.visibility import object_ids, visible_pixels
from rn_jax.clevr import RADIUS


def thing(x, y, shape="sphere", size="large", material="rubber", color="red"):
  return {
    "shape": shape,
    "size": size,
    "material": material,
    "color": color,
    "3d_coords": [x, y, RADIUS[size]],
    "rotation": 40.0 * x + y,
  }


@pytest.mark.parametrize("index", range(3))
def test_the_camera_is_recovered_from_pixel_coords(index):
  scene = sample_scene(0, "train", index)
  truth = scene.pop("camera")
  np.testing.assert_allclose(camera.camera_of(scene), truth, atol=2e-4)


@pytest.mark.parametrize("frame", [(480, 320), (320, 240)])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_few_objects_leave_a_camera_that_shows_them_in_place(number, frame):
  """One or two do not settle it, but jitter bounds it."""
  for index in range(4):
    scene = sample_scene(0, "train", index)
    truth = np.array(scene.pop("camera"))
    scene["objects"] = scene["objects"][:number]
    points = np.array([o["3d_coords"] for o in scene["objects"]])
    exact = camera.project(points, truth, frame)
    for thing, pixel in zip(scene["objects"], exact, strict=True):
      thing["pixel_coords"] = [*np.rint(pixel[:2]), pixel[2]]
    found = camera.camera_of(scene, frame)
    shown = camera.project(points, found, frame)
    np.testing.assert_allclose(shown[:, :2], exact[:, :2], atol=1)
    assert np.abs(found - camera.POSITION).max() <= camera.JITTER + 1e-6


def test_a_frame_of_another_ratio_shows_more():
  scene = {"camera": camera.POSITION, "objects": [thing(0, 0)]}
  usual, taller = (stage_of(scene, None, f) for f in (camera.FRAME, (320, 240)))
  np.testing.assert_allclose(taller.axes[1] / usual.axes[1], 1.125, rtol=1e-5)
  np.testing.assert_array_equal(taller.axes[[0, 2]], usual.axes[[0, 2]])


def test_a_camera_straight_above_has_a_picture():
  axes = np.array(camera.axes_of([0.0, 0.0, 10.0]))
  np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
  np.testing.assert_allclose(axes[2], [0, 0, 1])
  assert np.linalg.det(axes) == pytest.approx(1)
  with pytest.raises(ValueError, match="no direction"):
    camera.axes_of([0.0, 0.0, 0.0])


def test_pixel_coords_that_no_camera_makes_are_refused():
  scene = sample_scene(0, "train", 0)
  del scene["camera"]
  scene["objects"][0]["pixel_coords"][0] += 30
  with pytest.raises(ValueError, match="no camera explains"):
    camera.camera_of(scene)


def _inside(shape, p):
  """Whether points [..., 3] are inside a shape, by its own definition."""
  if shape == "cone":
    return (np.hypot(p[..., 0], p[..., 1]) < (1 - p[..., 2]) / 2) & (
      p[..., 2] > -1
    )
  x, y, z = np.moveaxis(np.abs(p), -1, 0)
  if shape == "capsule":
    return x**2 + y**2 + np.maximum(z - 0.4, 0) ** 2 < 0.6**2
  if shape == "sphere":
    return x**2 + y**2 + z**2 < 1
  if shape == "cube":
    e = np.maximum(np.abs(p) - 0.75, 0)
    return (e**3).sum(-1) < 0.25**3
  rim = np.maximum(np.hypot(x, y) - 0.9, 0) ** 4
  return rim + np.maximum(z - 0.9, 0) ** 4 < 0.1**4


@pytest.mark.parametrize("kind", range(5))
def test_rays_enter_shapes_where_marching_finds_them(kind):
  rng = np.random.default_rng(kind)
  origin = rng.normal(size=(300, 3))
  origin *= 4 / np.linalg.norm(origin, axis=-1, keepdims=True)
  target = rng.uniform(-1.1, 1.1, (300, 3))
  direction = (target - origin) / 3
  steps = np.linspace(0, 9, 9001)
  path = origin[:, None] + steps[:, None] * direction[:, None]
  inside = _inside(geometry.SOLIDS[kind], path)
  expected = np.where(inside.any(-1), steps[inside.argmax(-1)], np.inf)
  clear = inside.sum(-1) > 100  # not a mere touch
  clear |= ~_inside(geometry.SOLIDS[kind], path / 1.02).any(-1)
  with np.errstate(over="ignore", invalid="ignore"):  # far off, on a miss
    found = geometry.ENTER[kind](tuple(origin.T), tuple(direction.T), np)
  assert clear.sum() > 250
  assert (expected[clear] < np.inf).sum() > 100
  np.testing.assert_allclose(found[clear], expected[clear], atol=6e-3)


@pytest.mark.parametrize("kind", range(5))
def test_normals_are_square_to_the_surface(kind):
  rng = np.random.default_rng(kind)
  away = rng.normal(size=(3, 200))
  away = 3 * away / np.linalg.norm(away, axis=0)
  enter, normal = geometry.ENTER[kind], geometry.NORMAL[kind]

  def surface(origin):
    return origin - enter(tuple(origin), tuple(-away), np) * away

  point = surface(away)
  step = 1e-3 * rng.normal(size=(3, 200))
  tangent = surface(away + step) - point
  square = np.array(normal(tuple(point), np))
  square /= np.linalg.norm(square, axis=0)
  assert (np.sum(square * away, 0) > 0).all()
  slip = np.abs(np.sum(square * tangent, 0))
  # All but a few rays, which enter where an edge begins to bend.
  assert np.quantile(slip, 0.9) < 2e-4


def test_rays_meet_the_ground_at_its_height():
  # Straight down, onto local x of -8 and 1, in the middle of the sheet.
  local = np.array([-8.0, 1.0])
  axis_x, axis_y = np.array(ground.AXIS_X), np.array(ground.AXIS_Y)
  start = np.array([-24.062761, -17.996670, 30])
  origin = start[:, None] + axis_x[:, None] * local - 26 * axis_y[:, None]
  down = tuple(jnp.array([[0.0, 0], [0, 0], [-2, -2]]))
  height = 30 - 2 * ground.enter(tuple(jnp.array(origin)), down)
  np.testing.assert_allclose(height, [0.0683, 2.749], atol=0.06)
  nothing = ground.enter(tuple(jnp.array(origin + 100)), down)
  assert jnp.isinf(nothing).all()


def test_visible_spheres_are_counted_as_by_brute_force():
  scene = {
    "camera": [7.2, -6.8, 5.5],
    "objects": [thing(0, 0), thing(1.3, -1.2, size="small"), thing(-2, 2)],
  }
  right, up, back = camera.axes_of(scene["camera"])
  nearest = np.full((320, 480), np.inf)
  owner = np.full((320, 480), -1)
  for row in range(320):
    y = (1 - (row + 0.5) / 160) * 16 / 35 * 2 / 3
    x = ((np.arange(480) + 0.5) / 240 - 1) * 16 / 35
    rays = x[:, None] * right + y * up - back
    for i, item in enumerate(scene["objects"]):
      offset = np.array(scene["camera"]) - item["3d_coords"]
      a, b = (rays**2).sum(-1), rays @ offset
      root = b**2 - a * (offset @ offset - item["3d_coords"][2] ** 2)
      depth = np.where(root > 0, (-b - np.sqrt(np.abs(root))) / a, np.inf)
      owner[row] = np.where(depth < nearest[row], i, owner[row])
      nearest[row] = np.minimum(depth, nearest[row])
  expected = np.bincount(owner[owner >= 0], minlength=3)
  assert expected.min() > 200
  # Float32 may decide a pixel on the outline otherwise.
  np.testing.assert_allclose(visible_pixels(scene), expected, atol=2)


def test_a_hidden_object_shows_nothing():
  front = np.array([7.2, -6.8, 5.5])
  behind = -1.6 * front / np.linalg.norm(front[:2])
  scene = {
    "camera": list(front),
    "objects": [thing(0, 0, "cube"), thing(*behind[:2], size="small")],
  }
  large, small = visible_pixels(scene)
  assert large > 2000
  assert small < 200


def test_renderer_and_count_see_the_same_objects():
  scene = sample_scene(3, "train", 1, min_objects=8)
  expected = object_ids(scene)
  draw = partial(index_picture, width=480, height=320, plan=SMALL_TILES)
  found = np.asarray(jax.jit(draw)(stage_of(scene)))
  # The ground, which the count leaves out, hides the feet of some.
  free = found != trace.GROUND
  drawn = np.where(found < trace.GROUND, found, -1)
  assert (expected >= 0).sum() > 5000
  assert (drawn != expected)[free].mean() < 1e-3
  assert ((expected >= 0) & ~free).sum() < 0.03 * (expected >= 0).sum()


def test_shadows_point_away_from_the_lamps():
  scene = {"camera": camera.POSITION, "objects": [thing(0, 0, "cylinder")]}
  stage = jax.tree.map(jnp.asarray, stage_of(scene))
  for lamp, name in enumerate(("key", "fill", "back")):
    x, y, _ = lamps.POSITIONS[name] / np.hypot(*lamps.POSITIONS[name][:2])
    points = 1.0 * np.array([[-x, x], [-y, y], [0, 0]])
    points = tuple(jnp.asarray(p, jnp.float32) for p in points)
    index = jnp.full(2, trace.GROUND)
    hit = trace.Hits(index, points[0], points, points, points, points)
    targets = trace.lamp_samples(stage, jnp.zeros(2, jnp.int32))
    hidden = trace.hidden_lamps(stage, hit, targets, trace.all_pairs(stage))
    assert hidden[lamp].tolist() == [True, False]


def test_the_lamps_light_the_floor_as_in_blender():
  # 0.189 + 0.070 + 0.265 + 0.400, see the lamps' table of CLEVR's scene.
  assert lamps.lamps_of({}).strength == pytest.approx(1, abs=2e-3)


def test_lamp_samples_fill_the_lamps():
  assert lamps.PATTERN.shape == (4, 16, 2)
  cells = np.floor((lamps.PATTERN[:3] + 1) * 2).astype(int)
  for pattern in cells:
    assert len({tuple(cell) for cell in pattern}) == 16
    for block in pattern.reshape(4, 4, 2) // 2:
      assert len({tuple(quarter) for quarter in block}) == 4
  assert (np.hypot(*lamps.PATTERN[3].T) < 1).all()


def test_coarse_film_weighs_samples_as_pillow_resizes():
  rng = np.random.default_rng(0)
  light = rng.uniform(size=(16, 24, 3)).astype(np.float32)
  colors = np.asarray(film.srgb(jnp.asarray(light)))
  found = np.asarray(film.develop(jnp.asarray(light), 12, 8))
  for channel in range(3):
    image = Image.fromarray(colors[..., channel] * 255, mode=None)
    expected = image.resize((12, 8), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(found[..., channel], expected, atol=0.51)


def test_fine_film_averages_light():
  light = np.zeros((640, 960, 3), np.float32)
  light[::2, ::2] = 0.8  # a quarter of the samples
  found = np.asarray(film.develop(jnp.asarray(light), 480, 320))
  # 0.2 in sRGB: 1.055 * 0.2 ** (1 / 2.4) - 0.055 = 0.4845
  assert (found == 124).all()
