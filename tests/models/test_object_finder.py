"""Objects from pixels: which cells are asked, and what is handed on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rn_jax.clevr import ATTRIBUTES
from rn_jax.models.object_finder import (
  Found,
  cells_of,
  finding_loss,
  first_of_place,
  found_scene,
)
from rn_jax.models.scene import boxes_of_states
from rn_jax.models.state_encoder import encode_states

SIZES = {name: len(values) for name, values in ATTRIBUTES.items()}


def silent(scenes: int, cells: int) -> Found:
  """What a finder says that knows nothing."""
  shape = (scenes, cells)
  return Found(
    np.zeros(shape, np.float32),
    np.zeros((*shape, 3), np.float32),
    {name: np.zeros((*shape, n), np.float32) for name, n in SIZES.items()},
  )


def certain(objects: np.ndarray, cell: np.ndarray, cells: int) -> Found:
  """What a finder says that knows everything."""
  found = silent(len(objects), cells)
  found.presence[:] = -9.0
  for s, n in np.argwhere(cell >= 0):
    c, row = int(cell[s, n]), np.asarray(objects[s, n])
    found.presence[s, c] = 9.0 - n  # in the order of the rows
    found.coordinates[s, c] = row[:3]
    for column, name in enumerate(ATTRIBUTES, start=3):
      found.attributes[name][s, c, int(row[column]) - 1] = 50.0
  return jax.tree.map(jnp.asarray, found)


@pytest.fixture
def scene():
  objects = np.zeros((1, 10, 7), np.float32)
  objects[0, 0] = 1.5, -2.0, 0.35, 8, 1, 2, 1
  objects[0, 1] = -0.5, 0.25, 0.7, 1, 2, 3, 2
  cell = np.full((1, 10), -1, np.int32)
  cell[0, :2] = 5, 11
  return jnp.asarray(objects), jnp.asarray(cell)


def test_centres_lie_in_cells_and_the_nearest_object_has_its_cell():
  places = np.array(
    [[[0.1, 0.1, 9], [0.99, 0.5, 9], [0.95, 0.7, 8], [1.2, 0.5, 9], [0, 0, 0]]]
  )
  there = np.array([[True, True, True, True, False]])
  # Two rows of two: the second and the third share the last cell.
  assert cells_of(places, there, 2).tolist() == [[0, -1, 3, -1, -1]]


def test_what_two_cells_see_in_one_place_is_one_object():
  # The second is where the first is, the third where the second is but not the
  # first, the fourth is nowhere near, and the fifth is not there.
  x = np.array([0.0, 0.6, 1.2, 3.0, 3.1])
  places = np.stack([x, 0 * x, [0.7, 0.35, 0.35, 0.7, 0.7]], -1)[None]
  there = np.array([[True, True, True, True, False]])
  first = first_of_place(jnp.asarray(places), jnp.asarray(there))
  assert first.tolist() == [[True, False, True, True, False]]
  # In the order of certainty, and beyond as many as there can be objects.
  found = silent(1, 6)
  found.presence[0] = 1, 5, 4, 3, 2, -1
  found.coordinates[0, :, 0] = 2.0, 0.0, 0.1, 0.2, 0.3, 4.0
  scene = found_scene(jax.tree.map(jnp.asarray, found), 3)
  np.testing.assert_array_equal(scene.mask, [[True, True, False]])
  np.testing.assert_array_equal(scene.objects[0, :2, 0], [0.0, 2.0])


def test_the_loss_of_knowing_nothing_by_hand(scene):
  objects, cell = scene
  # 16 cells of ln 2 for two objects; a guess at each attribute; and of the
  # coordinates |error|, less half of the width of the round bottom.
  attributes = sum(np.log(n) for n in SIZES.values())
  errors = [[1.5, 2.0, 0.35], [0.5, 0.25, 0.7]]
  distance = np.mean([sum(e - 0.125 for e in row) for row in errors])
  expected = 16 * np.log(2) / 2 + attributes + distance
  knowing_nothing = jax.tree.map(jnp.asarray, silent(1, 16))
  found = jax.jit(finding_loss)(knowing_nothing, objects, cell)
  np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_knowing_everything_costs_nothing_and_cells_without_centre_learn_none(
  scene,
):
  objects, cell = scene
  found = certain(objects, cell, 16)
  assert jax.jit(finding_loss)(found, objects, cell)[0] < 0.01

  def loss(found):
    return finding_loss(found, objects, cell).sum()

  gradient = jax.jit(jax.grad(loss))(jax.tree.map(jnp.asarray, silent(1, 16)))
  elsewhere = np.delete(np.arange(16), cell[0, :2])
  for x in (gradient.coordinates, *gradient.attributes.values()):
    assert not np.any(x[0, elsewhere])
    assert np.all(np.any(x[0, cell[0, :2]], -1))
  assert np.all(gradient.presence[0, elsewhere] > 0)
  assert np.all(gradient.presence[0, cell[0, :2]] < 0)


def test_found_objects_are_state_descriptions(scene):
  objects, cell = scene
  found = jax.jit(found_scene, static_argnums=1)(certain(objects, cell, 16), 10)
  assert found.mask.tolist() == [[True, True] + 8 * [False]]
  np.testing.assert_allclose(
    found.objects[0, :2], encode_states(objects, True)[0, :2], atol=1e-6
  )
  np.testing.assert_allclose(
    found.boxes[0, :2], boxes_of_states(objects)[0, :2], atol=1e-6
  )


def test_answers_teach_the_cells_that_are_taken(scene):
  objects, cell = scene
  found = certain(objects, cell, 16)
  found = found._replace(
    attributes={name: x / 50 for name, x in found.attributes.items()}
  )
  gradient = jax.grad(lambda x: (found_scene(x, 10).objects[0, :2] ** 2).sum())(
    found
  )
  taken = np.flatnonzero(np.any(gradient.attributes["color"][0], -1))
  assert taken.tolist() == [5, 11]


def test_boxes_teach_nothing(scene):
  # Heads in blocks of scenes take no gradient of boxes, and those that take
  # all scenes at once shall learn the same.
  found = certain(*scene, 16)
  gradient = jax.grad(lambda x: (found_scene(x, 10).boxes[0, :2] ** 2).sum())(
    found
  )
  assert not np.any(gradient.coordinates)
