"""The lamps as metal mirrors them."""

import jax
import jax.numpy as jnp
import numpy as np

from data_prep.rendering import highlights, materials, trace
from data_prep.rendering.camera import POSITION
from data_prep.rendering.engine import stage_of


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


def test_metal_seen_edge_on_mirrors_no_lamps():
  """Its mirror once did, brightly: a lobe unmasked grows without bound."""
  item = {
    "shape": "sphere", "size": "large", "material": "metal", "color": "gray",
    "3d_coords": (0, 0, 0.7), "rotation": 0,
  }  # fmt: skip
  scene = {"camera": POSITION, "objects": [item]}
  stage = jax.tree.map(jnp.asarray, stage_of(scene))
  normal = tuple(jnp.full(3, c) for c in (0.6, -0.48, 0.64))
  # Normals that are square to the view within rounding, to either side.
  side = jnp.array([-1e-6, 0, 1e-6])
  view = tuple(
    c * side + a for c, a in zip(normal, (0.8, 0.36, -0.48), strict=True)
  )
  point = tuple(0.7 * c + z for c, z in zip(normal, (0, 0, 0.7), strict=True))
  offset = tuple(0.7 * c for c in normal)
  index = jnp.zeros(3, jnp.int32)
  hit = trace.Hits(index, jnp.full(3, 10.0), point, normal, offset, view)
  frame = materials.metal_frame(normal, offset)
  zero = jnp.zeros(3)
  spread = highlights.spread_of(stage, hit, frame, highlights.Cone(zero, zero))
  hidden = jnp.zeros((trace.NUM_LAMPS, 3), bool)
  light = jnp.stack(highlights.light(stage, hit, frame, spread, hidden))
  assert light.max() < 0.2
