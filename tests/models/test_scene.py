"""Boxes of objects: cells of a grid, and what CLEVR's camera sees."""

import jax
import jax.numpy as jnp
import numpy as np

from data_prep.generation.scenes import project, sample_scene
from rn_jax.clevr import HEIGHT, RADIUS, WIDTH
from rn_jax.data.states import read_objects
from rn_jax.models.scene import boxes_of_states, grid_boxes


def test_cells_come_row_by_row_and_fill_the_picture():
  boxes = grid_boxes(2, 4)
  np.testing.assert_allclose(boxes[1], [0.25, 0, 0.5, 0.5])
  np.testing.assert_allclose(boxes[4], [0, 0.5, 0.25, 1])
  np.testing.assert_allclose(boxes[-1], [0.75, 0.5, 1, 1])


def _centers(boxes):
  return (boxes[..., :2] + boxes[..., 2:]) / 2 * np.array([WIDTH, HEIGHT])


def test_states_are_seen_where_the_camera_that_does_not_jitter_sees_them():
  scenes = [sample_scene(3, "val", i) for i in range(5)]
  states = np.stack([read_objects(scene, 10) for scene in scenes])
  boxes = np.asarray(boxes_of_states(jnp.array(states)))
  jittered = []
  for scene, of_scene in zip(scenes, boxes, strict=True):
    count = len(scene["objects"])
    for item, box in zip(scene["objects"], of_scene, strict=False):
      column, row, depth = project(item["3d_coords"])
      np.testing.assert_allclose(_centers(box), [column, row], atol=1e-2)
      radius = RADIUS[item["size"]] * WIDTH / 2 * 35 / 16 / depth
      size = (box[2:] - box[:2]) * [WIDTH, HEIGHT]
      np.testing.assert_allclose(size, 2 * radius, rtol=1e-4)
      jittered.append(_centers(box) - item["pixel_coords"][:2])
    np.testing.assert_array_equal(
      of_scene[count:], [[0, 0, 1, 1]] * (10 - count)
    )
  distances = np.linalg.norm(jittered, axis=-1)
  assert np.median(distances) < 6
  assert distances.max() < 25


def test_no_state_makes_a_box_or_gradient_that_is_not_finite():
  behind_the_camera = jnp.array([[[20.0, -18, 15, 1, 1, 1, 1], [0.0] * 7]])
  boxes, gradient = jax.value_and_grad(lambda x: boxes_of_states(x).sum())(
    behind_the_camera
  )
  assert np.isfinite(boxes)
  assert np.isfinite(gradient).all()
