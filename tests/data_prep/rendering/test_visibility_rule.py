"""The quick visibility rule says what counting all pixels says."""

import pytest

from data_prep.generation.scenes import sample_scene
from data_prep.rendering import visibility_rule
from data_prep.rendering.visibility import all_visible, visible_pixels
from rn_jax.clevr import RADIUS


@pytest.fixture(scope="module")
def scenes():
  return [
    sample_scene(3, "val", i, min_objects=3 + 7 * (i % 2)) for i in range(40)
  ]


@pytest.mark.parametrize("min_pixels", [1, 200, 500])
def test_agrees_with_the_count(scenes, min_pixels):
  verdicts = []
  for scene in scenes:
    pixels = visible_pixels(scene)
    verdict = visibility_rule.shows_every_object(scene, min_pixels)
    assert verdict == (pixels.min() >= min_pixels)
    verdicts.append(verdict)
  assert True in verdicts
  assert min_pixels == 1 or False in verdicts


def test_most_objects_need_no_counting(scenes):
  total = sum(len(scene["objects"]) for scene in scenes)
  unclear = sum(len(visibility_rule._unclear(s, 200)) for s in scenes)
  assert 0 < unclear < total / 3


def test_single_objects_are_judged_as_among_all(scenes):
  verdicts = set()
  for scene in scenes[:12]:
    pixels = visible_pixels(scene)
    for i, seen in enumerate(pixels.tolist()):
      for least in (1, 200, seen, seen + 1):
        verdict = all_visible(scene, least, of=[i])
        assert verdict == (seen >= least)
        verdicts.add(verdict)
    assert all_visible(scene) == (pixels.min() >= 200)
  assert verdicts == {True, False}


def test_a_hidden_object_is_noticed(scenes):
  def thing(place, size):
    return {
      "3d_coords": [*place, RADIUS[size]],
      "size": size,
      "shape": "cube",
      "color": "red",
      "material": "metal",
      "rotation": 0.0,
    }

  camera = scenes[0]["camera"]
  front = [c / 10 for c in camera[:2]]
  behind = [-c / 10 for c in camera[:2]]
  scene = {
    "camera": camera,
    "objects": [thing(front, "large"), thing(behind, "small")],
  }
  assert not visibility_rule.shows_every_object(scene, 200)
  scene["objects"].reverse()
  assert not visibility_rule.shows_every_object(scene, 200)
  scene["objects"] = [thing(front, "small"), thing(behind, "large")]
  assert visibility_rule.shows_every_object(scene, 200)
