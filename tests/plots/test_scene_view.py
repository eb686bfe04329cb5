"""Scenes are drawn where CLEVR's camera sees their objects."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rn_jax.clevr import ATTRIBUTES
from rn_jax.models.scene import boxes_of_states
from rn_jax.plots.scene_view import draw_scene


def make_row(x, y, **attributes):
  index = [values.index(attributes[n]) + 1 for n, values in ATTRIBUTES.items()]
  return [x, y, 0.7 if attributes["size"] == "large" else 0.35, *index]


def pixels_of(rows):
  content = io.BytesIO()
  draw_scene(np.array(rows, np.float32)).savefig(content, dpi=160)
  return np.asarray(Image.open(content).convert("RGB"), int)


@pytest.mark.parametrize("shape", ATTRIBUTES["shape"])
def test_an_object_is_where_its_box_is(shape):
  look = {"shape": shape, "color": "red", "size": "large", "material": "rubber"}
  row = make_row(1.0, -2.0, **look)
  pixels = pixels_of([row, [0] * 7])
  reddish = pixels[..., 0] > 1.5 * pixels[..., 2]
  height, width = np.nonzero(reddish)
  box = np.asarray(boxes_of_states(jnp.array([[row]], jnp.float32)))[0, 0]
  size = np.array(pixels.shape[1::-1])
  found = [width.mean(), height.mean()] / size
  np.testing.assert_allclose(found, (box[:2] + box[2:]) / 2, atol=0.02)
  extent = np.ptp(width) / size[0]
  assert 0.95 < extent / (box[2] - box[0]) < 1.5  # corners of cubes stand out


def test_the_nearer_object_hides_the_other():
  look = {"size": "large", "material": "rubber"}
  far = make_row(0.0, 0.0, shape="cube", color="red", **look)
  near = make_row(1.2, -1.0, shape="sphere", color="blue", **look)

  def areas(rows):
    red, _, blue = np.moveaxis(pixels_of(rows), -1, 0)
    return (red > 1.5 * blue).sum(), (blue > 1.5 * red).sum()

  both = areas([near, far])
  # But for the borders, which are mixed of what is behind.
  assert both[1] > 0.95 * areas([near])[1] > 0
  assert 0 < both[0] < 0.9 * areas([far])[0]


def test_metal_glints():
  look = {"shape": "sphere", "color": "brown", "size": "large"}
  white = [
    (pixels_of([make_row(0, 0, material=m, **look)]).min(-1) > 235).sum()
    for m in ("rubber", "metal")
  ]
  assert white[0] == 0 < white[1]
