"""Worlds of other objects: read, sampled, drawn, asked about, annotated."""

import collections
import functools
import hashlib
import json
import re

import jax
import numpy as np
import pytest
from places import ROOT, SHARED

from data_prep.annotation.coco import annotations_of, categories
from data_prep.conversion.properties import one_world
from data_prep.generate import generate
from data_prep.generation.job import Job, is_same, make_scene
from data_prep.generation.scenes import MIN_GAP, sample_scene
from data_prep.language.programs import execute, scene_table
from data_prep.rendering import geometry, trace, visibility_rule
from data_prep.rendering.engine import render, stage_of
from data_prep.rendering.picture import SMALL_TILES, index_picture
from data_prep.rendering.visibility import visible_pixels
from data_prep.world import (
  CLEVR,
  check_words,
  parse_world,
  read_world,
  world_of,
)
from rn_jax.clevr import ATTRIBUTES

FILE = ROOT / "examples" / "properties.json"
WORLD = read_world(FILE)
CLEVRS = SHARED / "clevr_language" / "properties.json"


def _content(**changes):
  return {**WORLD.to_json(), **changes}


def test_the_file_comes_back():
  assert WORLD.to_json() == json.loads(FILE.read_text())
  assert parse_world(WORLD.to_json()) == WORLD
  assert WORLD.new_values == {
    "color": ["orange", "white", "black"],
    "shape": ["cone", "capsule"],
    "size": ["middling"],
  }


@pytest.mark.skipif(not CLEVRS.exists(), reason=f"{CLEVRS} is absent")
def test_clevrs_own_file_is_clevrs_world():
  assert read_world(CLEVRS) is CLEVR
  assert Job("val", 1, world=read_world(CLEVRS)).info() == Job("val", 1).info()


def test_clevrs_world():
  assert CLEVR.values == ATTRIBUTES
  assert CLEVR.new_values == {}
  assert read_world(None) is CLEVR
  assert parse_world(CLEVR.to_json()) is CLEVR
  assert "properties" not in sample_scene(0, "val", 0)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"shapes": {"ring": "Torus"}},
      "shapes: ring is 'Torus'; what can be drawn",
    ),
    ({"materials": {"glass": ["Glass"]}}, r"materials: glass is \['Glass'\]"),
    ({"colors": {"pink": [1, 2]}}, r"colors: pink is \[1, 2\], must be three"),
    ({"colors": {"pink": [1, 2, 256]}}, "must be three numbers from 0 to 255"),
    ({"sizes": {"vast": 2}}, "sizes: vast is 2, must be a number from 0.25"),
    ({"sizes": {"odd": True}}, "sizes: odd is True"),
    ({"sizes": {}}, "sizes must be a JSON object with a name at least"),
    ({"sizes": {"very big": 0.5}}, "'very big' cannot be a name"),
    (
      {"sizes": {"red": 0.5}},
      "sizes: 'red' cannot be a name",
    ),  # CLEVR's colour
    ({"sizes": {"orange": 0.5}}, "sizes: 'orange' cannot be a name"),
    ({"colors": {"thing": [1, 2, 3]}}, "colors: 'thing' cannot be a name"),
    ({"textures": {}}, "must be a JSON object with colors, materials, shapes"),
  ],
)
def test_malformed_files_are_refused(changes, message, tmp_path):
  path = tmp_path / "properties.json"
  path.write_text(json.dumps(_content(**changes)))
  with pytest.raises(ValueError, match=message) as caught:
    read_world(path)
  assert str(caught.value).startswith(f"{path}: ")
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
  ("changes", "name"),
  [
    ({"sizes": {"small": 0.35, "tiny": 0.3}}, "tiny"),
    ({"shapes": {"sphere": "Sphere", "ball": "Cone"}}, "ball"),
    ({"colors": {"shiny": [1, 2, 3]}}, "shiny"),
    ({"sizes": {"tiny": 0.3, "large": 0.7}}, None),
  ],
)
def test_a_name_is_no_word_for_something_else(changes, name):
  world = parse_world(
    _content(materials=CLEVR.to_json()["materials"]) | changes
  )
  synonyms = Job("val", 3).language.synonyms
  if name is None:
    check_words(world, synonyms)
  else:
    with pytest.raises(ValueError, match=f"'{name}' is a word for '"):
      check_words(world, synonyms)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000])
def test_what_is_no_properties_file_is_refused(text, tmp_path):
  path = tmp_path / "properties.json"
  path.write_text(text)
  with pytest.raises(ValueError, match=r"properties\.json"):
    read_world(path)
  with pytest.raises(FileNotFoundError):
    read_world(tmp_path / "none.json")


@pytest.fixture(scope="module")
def scenes():
  return [
    sample_scene(0, "val", i, min_objects=5, world=WORLD) for i in range(40)
  ]


def test_objects_are_of_the_world_and_do_not_touch(scenes):
  seen = collections.defaultdict(set)
  for scene in scenes:
    assert world_of(json.loads(json.dumps(scene))) == WORLD
    for item in scene["objects"]:
      for name in ATTRIBUTES:
        seen[name].add(item[name])
      assert item["3d_coords"][2] == WORLD.sizes[item["size"]]
    for i, a in enumerate(scene["objects"]):
      for b in scene["objects"][:i]:
        (x, y, r), (u, v, s) = a["3d_coords"], b["3d_coords"]
        assert np.hypot(x - u, y - v) - r - s > MIN_GAP - 1e-6
  assert {name: set(values) for name, values in WORLD.values.items()} == seen


def test_cogent_is_clevrs():
  with pytest.raises(ValueError, match="no other properties"):
    Job("valA", 1, world=WORLD)


def test_the_count_of_pixels_is_the_renderers(scenes):
  draw = jax.jit(
    functools.partial(index_picture, width=480, height=320, plan=SMALL_TILES)
  )
  solids = set()
  for scene in scenes[:4]:
    stage = stage_of(scene)
    assert len(stage.bounds) == len(geometry.SOLIDS)
    solids |= set(stage.objects.shape.tolist())
    drawn = np.asarray(draw(stage))
    found = visible_pixels(scene)
    for i, pixels in enumerate(found.tolist()):
      number = (drawn == i).sum()
      # The ground hides the feet of some; rounding may tip a few rays.
      assert 0.93 * pixels - 5 <= number <= pixels + 3
    assert (drawn == trace.GROUND).any()
  assert solids >= {3, 4}


def test_the_quick_rule_of_visibility_says_what_the_count_says(scenes):
  verdicts = collections.Counter()
  for scene in scenes:
    pixels = visible_pixels(scene)
    for least in (50, 200, 400):
      verdict = visibility_rule.shows_every_object(scene, least)
      assert verdict == (pixels.min() >= least)
      verdicts[verdict] += 1
  assert min(verdicts.values()) > 5
  unclear = sum(len(visibility_rule._unclear(s, 200)) for s in scenes)
  assert unclear < sum(len(s["objects"]) for s in scenes) / 2


def test_pictures_without_new_shapes_are_those_of_clevr():
  clevr = sample_scene(0, "val", 3)
  as_world = {**clevr, "properties": _content(**CLEVR.to_json())}
  more = {
    **CLEVR.to_json(),
    "shapes": {**CLEVR.to_json()["shapes"], "x": "Cone"},
  }
  with_cone = {**clevr, "properties": more}
  pictures = render([clevr, as_world, with_cone], 32, 32)
  np.testing.assert_array_equal(pictures[1], pictures[0])
  np.testing.assert_array_equal(pictures[2], pictures[0])


def test_colours_and_shapes_are_drawn(scenes):
  item = {**scenes[0]["objects"][0], "size": "large", "material": "rubber"}
  item |= {"3d_coords": [0, 0, 0.7]}

  def draw(**looks):
    scene = {**scenes[0], "objects": [item | looks], "camera": [7.5, -6.5, 5.3]}
    return render([scene], 32, 32)[0].astype(int)

  ball, cone, capsule = (
    draw(shape=shape, color="orange") for shape in ("sphere", "cone", "capsule")
  )
  sizes = [(p @ [1, 0, -1] > 60).sum() for p in (ball, cone, capsule)]
  assert sizes[0] > sizes[1] > 10
  assert sizes[0] > sizes[2] > 10
  white, black = draw(color="white"), draw(color="black")
  assert (white.max(-1) - black.max(-1)).max() > 100


def test_questions_are_about_the_world_and_have_its_answers(tmp_path):
  job = Job("val", 60, 2, world=WORLD, min_visible_pixels=0)
  generate(tmp_path, job, workers=1)
  path = tmp_path / "scenes" / "CLEVR_val_scenes.json"
  content = json.loads(path.read_text())
  assert content["info"]["generator"]["properties"] == WORLD.to_json()
  tables = [scene_table(scene) for scene in content["scenes"]]
  path = tmp_path / "questions" / "CLEVR_val_questions.json"
  words, answers = set(), set()
  for question in json.loads(path.read_text())["questions"]:
    answer = execute(question["program"], tables[question["image_index"]])
    assert answer == question["answer"]
    answers.add(answer)
    words |= set(question["question"].rstrip("?").replace(";", "").split())
  new = {v for values in WORLD.new_values.values() for v in values}
  assert new <= answers
  assert new | {"cones", "capsules"} <= words
  texts = path.read_text()
  assert " an orange " in texts
  assert not re.search(r"\b[Aa] [aeiou]", texts)
  gone = {"cylinder", "green", "brown", "gray", "yellow", "cyan", "purple"}
  assert not gone & (words | answers)


def test_what_all_objects_share_is_not_asked_for(tmp_path):
  content = _content()
  content["materials"] = dict(list(content["materials"].items())[:1])
  job = Job("val", 60, 2, world=parse_world(content), min_visible_pixels=0)
  generate(tmp_path, job, workers=1)
  path = tmp_path / "questions" / "CLEVR_val_questions.json"
  functions = {
    question["program"][-1]["function"]
    for question in json.loads(path.read_text())["questions"]
  }
  assert {"equal_color", "query_color"} <= functions
  assert not {"equal_material", "query_material"} & functions


def test_annotations_count_the_worlds_shapes(scenes):
  names = [c["name"] for c in categories(WORLD)]
  assert names == ["cube", "sphere", "cone", "capsule"]
  for item in annotations_of(scenes[0], (96, 64)):
    thing = scenes[0]["objects"][item["object"]]
    assert names[item["category_id"] - 1] == thing["shape"]


def test_scenes_of_two_worlds_are_not_mixed(tmp_path):
  path = tmp_path / "scenes.json"
  texts = [json.dumps(WORLD.to_json()), "null"]
  assert one_world(texts[:1], path) == WORLD
  assert one_world(texts[1:], path) is one_world([], path) is CLEVR
  with pytest.raises(ValueError, match="scenes differ in their"):
    one_world(texts, path)
  with pytest.raises(ValueError, match=r"scenes\.json: properties must be"):
    one_world(['{"shapes": 3}'], path)


def test_properties_are_part_of_what_data_are_made_from():
  keys = {
    hashlib.sha256(json.dumps(job.info()).encode()).hexdigest()
    for job in (Job("val", 3), Job("val", 3, world=WORLD))
  }
  assert len(keys) == 2
  assert Job("val", 3).look() != Job("val", 3, world=WORLD).look()
  # So is their order, by which they are drawn.
  shapes = dict(reversed(WORLD.to_json()["shapes"].items()))
  turned = Job("val", 3, world=parse_world(_content(shapes=shapes)))
  job = Job("val", 3, world=WORLD)
  for one, other in ((job.info(), turned.info()), (job.look(), turned.look())):
    assert one == other
    assert is_same(one, one)
    assert not is_same(one, other)
  scene = make_scene(Job("val", 3, world=WORLD), 0)
  assert min(visible_pixels(scene)) >= 200
