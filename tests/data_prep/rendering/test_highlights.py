"""The lamps as metal mirrors them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.image_measures import bright_pixels
from data_prep.rendering import highlights, materials, trace
from data_prep.rendering.camera import POSITION
from data_prep.rendering.engine import render, stage_of
from data_prep.rendering.lamps import _SUN_DIRECTION, POSITIONS


def test_a_lobe_shows_its_facets_share_of_a_polygon():
  """Against the sum of GGX's density of slopes over a square."""
  zero = jnp.zeros(1)
  u, v = 0.015, 0.03
  lobe = highlights.Spread(zero + u * u, zero, zero + v * v)
  for x, y, size in ((0, 0, 0.02), (0.01, -0.03, 0.02), (0.2, 0.1, 0.05)):
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    polygon = [(zero + x + size * a, zero + y + size * b, zero + 1)
               for a, b in corners]  # fmt: skip
    found = highlights._form(lobe, polygon)
    grid = size * ((np.arange(400) + 0.5) / 200 - 1)
    length = 1 + ((x + grid) / u)[:, None] ** 2 + ((y + grid) / v) ** 2
    expected = (1 / length**2).mean() * (2 * size) ** 2 / (np.pi * u * v)
    np.testing.assert_allclose(found, expected, rtol=5e-3)


def _on_a_sphere(normal, view):
  """A stage with a large metal sphere, and hits on it [L]."""
  item = {
    "shape": "sphere", "size": "large", "material": "metal", "color": "gray",
    "3d_coords": (0, 0, 0.7), "rotation": 0,
  }  # fmt: skip
  stage = stage_of({"camera": POSITION, "objects": [item]})
  normal, view = (tuple(jnp.asarray(a, jnp.float32)) for a in (normal, view))
  offset = tuple(0.7 * c for c in normal)
  point = (offset[0], offset[1], offset[2] + 0.7)
  size = len(normal[0])
  hit = trace.Hits(
    jnp.zeros(size, jnp.int32), jnp.full(size, 10.0), point, normal, offset,
    view,
  )  # fmt: skip
  return jax.tree.map(jnp.asarray, stage), hit


def _light(stage, hit, spread):
  frame = materials.metal_frame(hit.normal, hit.offset)
  size = len(hit.distance)
  spread = highlights.Spread(*(jnp.full(size, s) for s in spread))
  hidden = jnp.zeros((trace.NUM_LAMPS, size), bool)
  light = highlights.light(stage, hit, frame, spread, hidden)
  return np.stack(light), np.array(frame, float)


@pytest.mark.parametrize("spread", [(0.0, 0.0, 0.0), (0.05, 0.05, 0.05)])
def test_mirrored_lamps_are_the_sum_over_their_points(spread):
  """Against GGX's formula, for 10,000 points of each lamp."""
  rng = np.random.default_rng(0)
  view = np.array(POSITION) / np.linalg.norm(POSITION)
  # Normals that mirror a lamp, or nearly so.
  lamps = np.array([*POSITIONS.values(), 10 * np.array(_SUN_DIRECTION)])
  lamps -= (0, 0, 0.7)
  lamps = np.repeat(lamps, 6, 0)
  normal = lamps / np.linalg.norm(lamps, axis=1, keepdims=True) + view
  normal += rng.normal(0, 0.1, (24, 3)) * rng.random((24, 1))
  normal = (normal / np.linalg.norm(normal, axis=1, keepdims=True)).T
  stage, hit = _on_a_sphere(normal, np.repeat(view[:, None], 24, 1))
  found, frame = _light(stage, hit, spread)
  axes = [*frame, normal]
  point = np.array(hit.point, float)
  side = (np.arange(100) + 0.5) / 50 - 1
  x, y = (a.ravel() for a in np.meshgrid(side, side))

  def expected(k):
    total, spots = 0, 10_000
    v = np.array([a[:, k] @ view for a in axes])
    for lamp in range(trace.NUM_LAMPS):
      center, right, up, facing, radiance = (
        np.asarray(a[lamp], float)
        for a in (
          stage.lamps.center, stage.lamps.half_right, stage.lamps.half_up,
          stage.lamps.facing, stage.lamps.radiance,
        )
      )  # fmt: skip
      inside = x * x + y * y < 1 if lamp == 3 else x == x
      to = center + np.outer(x, right) + np.outer(y, up) - point[:, k]
      square = (to**2).sum(1)
      to /= np.sqrt(square)[:, None]
      area = 4 * np.linalg.norm(right) * np.linalg.norm(up) / spots
      angle = inside * area * -(to @ facing) / square
      out = np.array([to @ a[:, k] for a in axes])
      toward = np.array([a[:, k] @ (center - point[:, k]) for a in axes])
      if toward[2] <= 0:
        continue
      half = out + v[:, None]
      half /= np.linalg.norm(half, axis=0)
      for (a, b), share in (
        (materials.ROUGH_ALPHAS, 0.4), (materials.MIRROR_ALPHAS, 0.6),
      ):  # fmt: skip
        lobe = np.array([[a * a, 0], [0, b * b]])
        lobe += [spread[:2], spread[1:]]
        masks = [
          np.sqrt(1 + d[:2] @ lobe @ d[:2] / d[2] ** 2) / 2 - 0.5
          for d in (v, toward / np.linalg.norm(toward))
        ]
        length = (half[:2] * np.linalg.solve(lobe, half[:2])).sum(0)
        density = np.linalg.det(lobe) ** -0.5 / (length + half[2] ** 2) ** 2
        shown = angle / np.pi * density / (4 * v[2])
        shown = (shown / (1 + sum(masks))).sum()
        total += share * min(shown, 1) * radiance
    return total

  expected = np.stack([expected(k) for k in range(24)], 1)
  assert expected.max() > 1  # a lamp is seen in the mirror
  np.testing.assert_allclose(found, expected, rtol=0.15, atol=0.01)


def test_metal_seen_edge_on_mirrors_no_lamps():
  """Its mirror once did, brightly: a lobe unmasked grows without bound."""
  normal = np.array((0.6, -0.48, 0.64))[:, None]
  # Normals that are square to the view within rounding, to either side.
  view = normal * [-1e-6, 0, 1e-6] + np.array((0.8, 0.36, -0.48))[:, None]
  stage, hit = _on_a_sphere(np.repeat(normal, 3, 1), view)
  assert _light(stage, hit, (0, 0, 0))[0].max() < 0.2


def test_a_cube_of_metal_has_few_isolated_bright_pixels():
  """One sample of an edge may meet a lamp that its pixel hardly shows."""
  cube = {
    "shape": "cube", "size": "large", "material": "metal", "color": "gray",
    "3d_coords": (0, 0, 0.7),
  }  # fmt: skip
  cubes = [{**cube, "rotation": degrees} for degrees in (30, 60)]
  pictures = render([{"camera": POSITION, "objects": [c]} for c in cubes])
  assert bright_pixels(pictures).max() <= 10
