"""Scenes obey CLEVR's placement rules and are where they say they are."""

import collections
import itertools
import json
import math

import pytest
from places import SHARED

from data_prep.generation import scenes
from data_prep.rendering import camera as camera_facts
from data_prep.rendering import lamps as lamp_facts
from rn_jax.clevr import ATTRIBUTES, COLORS, DIRECTIONS

GOLD = SHARED / "clevr_gold"


def _sample(count, split="val", **kwargs):
  return [scenes.sample_scene(3, split, i, **kwargs) for i in range(count)]


def _along(obj, direction):
  vector = DIRECTIONS[direction]
  return sum(a * b for a, b in zip(obj["3d_coords"], vector, strict=True))


def test_placement_rules():
  for scene in _sample(150):
    assert 3 <= len(scene["objects"]) <= 10
    for obj in scene["objects"]:
      x, y, z = obj["3d_coords"]
      assert -3 <= x <= 3
      assert -3 <= y <= 3
      assert z == {"large": 0.7, "small": 0.35}[obj["size"]]
      assert 0 <= obj["rotation"] <= 360
      for name, values in ATTRIBUTES.items():
        assert obj[name] in values
    for a, b in itertools.combinations(scene["objects"], 2):
      distance = math.dist(a["3d_coords"][:2], b["3d_coords"][:2])
      assert distance - a["3d_coords"][2] - b["3d_coords"][2] >= 0.25
      for direction in ("left", "right", "front", "behind"):
        assert not 0 < _along(a, direction) - _along(b, direction) < 0.4


def test_relationships_are_what_coordinates_say():
  for scene in _sample(50):
    objects = scene["objects"]
    for relation, related in scene["relationships"].items():
      assert related == [
        [
          j
          for j, other in enumerate(objects)
          if _along(other, relation) - _along(obj, relation) > 0.2
        ]
        for obj in objects
      ]
      # A strict total order: one object has none, one has one, …
      assert sorted(map(len, related)) == list(range(len(objects)))


def test_relationships_of_gold_scenes():
  path = GOLD / "scenes_only" / "scenes" / "CLEVR_val_scenes.json"
  if not path.exists():
    pytest.skip("the gold data are not here")
  for scene in json.loads(path.read_text())["scenes"]:
    coordinates = [o["3d_coords"] for o in scene["objects"]]
    assert scenes.relationships(coordinates) == scene["relationships"]
    for name, vector in scene["directions"].items():
      assert DIRECTIONS[name] == pytest.approx(vector, abs=1e-12)


def test_numbers_and_looks_are_uniform():
  sample = _sample(800)
  numbers = collections.Counter(len(s["objects"]) for s in sample)
  assert set(numbers) == set(range(3, 11))
  assert all(60 < n < 140 for n in numbers.values())  # 100 expected
  objects = [o for s in sample for o in s["objects"]]
  for name in ("color", "material", "shape"):  # large ones fit less often
    values = ATTRIBUTES[name]
    seen = collections.Counter(o[name] for o in objects)
    for value in values:
      assert seen[value] / len(objects) == pytest.approx(
        1 / len(values), abs=0.03
      )


def test_the_crowded_scene_keeps_its_number_of_objects():
  for scene in _sample(10, min_objects=10, max_objects=10):
    assert len(scene["objects"]) == 10


def test_projection_by_hand():
  # The camera looks at the origin, at a distance of |camera|.
  column, row, depth = scenes.project([0, 0, 0])
  assert (column, row) == pytest.approx((240, 160))
  assert depth == pytest.approx(math.hypot(*camera_facts.POSITION))
  # Half the picture's width is 16/35 of the depth to the right.
  half = 16 / 35 * depth
  right = [half * c for c in DIRECTIONS["right"]]
  assert scenes.project(right)[:2] == pytest.approx((480, 160))


def test_directions_in_the_picture():
  # As in CLEVR: things in front are further down, those above further up.
  for name, axis, sign in [
    ("right", 0, 1),
    ("left", 0, -1),
    ("front", 1, 1),
    ("behind", 1, -1),
    ("below", 1, 1),
    ("above", 1, -1),
  ]:
    place = scenes.project(DIRECTIONS[name])
    move = (place[0] - 240, place[1] - 160)
    assert sign * move[axis] > 10
    assert move[1 - axis] == pytest.approx(0, abs=1e-3)


def test_pixels_come_from_the_camera_of_the_scene():
  scene = scenes.sample_scene(3, "val", 5)
  camera = scenes.sample_camera(3, "val", 5)
  assert all(
    abs(c - n) <= 0.5
    for c, n in zip(camera, camera_facts.POSITION, strict=True)
  )
  for obj in scene["objects"]:
    column, row, depth = scenes.project(obj["3d_coords"], camera)
    assert obj["pixel_coords"][:2] == [round(column), round(row)]
    assert obj["pixel_coords"][2] == pytest.approx(depth, abs=1e-6)
    assert 0 <= column < 480
    assert 0 <= row < 320


def test_a_scene_depends_on_its_index_alone():
  alone = scenes.sample_scene(3, "val", 7)
  assert alone == _sample(10)[7]
  others = [(3, "val", 8), (4, "val", 7), (3, "train", 7)]
  for key in others:
    assert scenes.sample_scene(*key)["objects"] != alone["objects"]
  assert json.loads(json.dumps(alone)) == alone


@pytest.mark.parametrize("split", ["trainA", "valA", "testA", "valB", "testB"])
def test_cogent_colors(split):
  seen = collections.defaultdict(set)
  for scene in _sample(150, split):
    for obj in scene["objects"]:
      seen[obj["shape"]].add(obj["color"])
  four = {"gray", "blue", "brown", "yellow"}
  rest = {"red", "green", "purple", "cyan"}
  cubes, cylinders = (four, rest) if split.endswith("A") else (rest, four)
  assert seen == {"cube": cubes, "cylinder": cylinders, "sphere": set(COLORS)}


def test_a_refused_scene_starts_over_with_as_many_objects():
  first = scenes.sample_scene(3, "val", 1)
  offered = []

  def third(scene):
    offered.append(scene)
    return len(offered) == 3

  scene = scenes.sample_scene(3, "val", 1, accept=third)
  assert scene is offered[-1]
  assert offered[0] == first
  assert scene["objects"] != first["objects"]
  assert {len(s["objects"]) for s in offered} == {len(first["objects"])}


def test_a_scene_that_cannot_be_made_is_given_up(monkeypatch):
  monkeypatch.setattr(scenes, "_ATTEMPTS", 5)
  with pytest.raises(ValueError, match=r"scene 1 of val .* in 5 attempts"):
    scenes.sample_scene(3, "val", 1, accept=lambda _: False)


def test_camera_and_lamps_are_jittered_each_on_their_own():
  scene = scenes.sample_scene(3, "val", 5)
  assert scene["camera"] == list(scenes.sample_camera(3, "val", 5))
  assert scene["lamps"] == scenes.sample_lamps(3, "val", 5)
  assert list(scene["lamps"]) == ["key", "fill", "back"]
  moves = [
    [
      place - nominal
      for name, nominals in lamp_facts.POSITIONS.items()
      for place, nominal in zip(s["lamps"][name], nominals, strict=True)
    ]
    for s in _sample(300)
  ]
  for one in zip(*moves, strict=True):
    assert -1 <= min(one) < -0.95
    assert 0.95 < max(one) <= 1
    assert abs(sum(one) / len(one)) < 0.15
