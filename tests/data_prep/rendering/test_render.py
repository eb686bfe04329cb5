"""Whole pictures, and the command that draws them."""

import copy
import functools
import importlib
import json

import jax
import numpy as np
import pytest
from PIL import Image
from places import SHARED

from data_prep.generation.scenes import sample_scene
from data_prep.render import render_split
from data_prep.rendering import engine, trace
from data_prep.rendering import picture as drawing
from data_prep.rendering.engine import render
from rn_jax.data.images import to_rgb
from rn_jax.host.exclusive import BusyError, exclusive

GOLD = SHARED / "clevr_gold" / "rendered"
SIZE = 32  # one for all tests: every size is compiled anew


@pytest.fixture(scope="module")
def scenes():
  return [sample_scene(0, "val", index) for index in range(3)]


@pytest.fixture(scope="module")
def pictures(scenes):
  return render(scenes, SIZE, SIZE)


def test_a_picture_does_not_depend_on_its_neighbours(scenes, pictures):
  assert pictures.shape == (3, SIZE, SIZE, 3)
  assert pictures.dtype == np.uint8
  np.testing.assert_array_equal(render(scenes[1:2], SIZE, SIZE)[0], pictures[1])
  again = render([scenes[2], scenes[0]], SIZE, SIZE)
  np.testing.assert_array_equal(again, pictures[[2, 0]])


def test_tiles_leave_out_nothing_that_matters(scenes):
  """Of objects and lamps, a small tile tries only some."""

  def seen(stage, rays, phase, footprint, plan):
    del footprint
    hit = drawing._primary(stage, rays, plan)
    near = trace.pairs_near(stage, hit) if plan.tile else trace.all_pairs(stage)
    targets = trace.lamp_samples(stage, phase)
    hidden = trace.hidden_lamps(stage, hit, targets, near)
    return (hit.index, *hidden)

  def draw(stage, plan):
    return drawing._by_tiles(seen, stage, 96, 128, plan)

  found, expected = (
    jax.jit(functools.partial(draw, plan=plan))
    for plan in (drawing.SMALL_TILES, drawing.WHOLE)
  )
  for scene in scenes:
    stage = engine.stage_of(scene)
    differ = np.asarray(found(stage)) != np.asarray(expected(stage))
    # Rounding may tip a ray on an outline to the other side.
    assert differ.mean() < 3e-4


def test_the_form_for_accelerators_can_be_traced(scenes):
  stages = [engine.stage_of(scene) for scene in scenes]
  batch = jax.tree.map(lambda *rows: np.stack(rows), *stages)
  shape = jax.eval_shape(engine._draw_batch(SIZE, SIZE), batch)
  assert shape.shape == (3, SIZE, SIZE, 3)


def test_colours_lamps_and_camera_are_the_scenes(scenes, pictures):
  changed = copy.deepcopy(scenes[0])
  changed["camera"] = [c + 0.3 for c in changed["camera"]]
  assert (render([changed], SIZE, SIZE)[0] != pictures[0]).mean() > 0.1
  changed = copy.deepcopy(scenes[0])
  lamps = changed.pop("lamps")
  nominal = render([changed], SIZE, SIZE)[0]
  assert (nominal != pictures[0]).mean() > 0.1
  replayed = render([changed], SIZE, SIZE, lamps=[lamps])[0]
  np.testing.assert_array_equal(replayed, pictures[0])


def test_the_ground_has_the_scenes_colour(scenes, pictures):
  usual = {**scenes[0], "background": [204, 204, 204]}
  np.testing.assert_array_equal(render([usual], SIZE, SIZE)[0], pictures[0])
  green, black = (
    render([{**scenes[0], "background": color}], SIZE, SIZE)[0].astype(int)
    for color in ([20, 204, 20], [0, 0, 0])
  )
  ground = np.s_[:4, :4]  # nothing stands in this corner
  assert (green[ground] @ [-1, 1, 0] > 40).all()
  assert (black[ground] == 0).all()
  # The lamps still shine on objects.
  assert black.max() > 100


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"objects": []}, "no objects"),
    ({"lamps": {"key": [1, 2, 3]}}, "lamps"),
    ({"lamps": dict.fromkeys(("key", "fill", "back"), (0, 0, 0))}, "not all 0"),
    ({"camera": [1, 2]}, "camera"),
    ({"background": [1, 2]}, "background"),
    ({"background": [1, 2, 300]}, "background"),
  ],
)
def test_bad_scenes_are_named(scenes, change, message):
  with pytest.raises(ValueError, match=f"CLEVR_val_000000.png: .*{message}"):
    render([{**scenes[0], **change}], SIZE, SIZE)


def test_unknown_colour_is_named(scenes):
  scene = copy.deepcopy(scenes[0])
  scene["objects"][1]["color"] = "pink"
  with pytest.raises(ValueError, match=r"object 1 .*'pink'"):
    render([scene], SIZE, SIZE)


@pytest.fixture
def clevr_dir(tmp_path, scenes):
  (tmp_path / "scenes").mkdir()
  path = tmp_path / "scenes" / "CLEVR_val_scenes.json"
  path.write_text(json.dumps({"scenes": scenes}))
  return tmp_path


def test_a_split_is_drawn_and_gone_on_with(clevr_dir, scenes, pictures):
  folder = render_split(clevr_dir, "val", width=SIZE, height=SIZE)
  files = [folder / scene["image_filename"] for scene in scenes]
  assert sorted(folder.iterdir()) == files
  for file, expected in zip(files, pictures, strict=True):
    np.testing.assert_array_equal(np.asarray(Image.open(file)), expected)
  files[1].unlink()
  before = files[0].stat().st_mtime_ns
  render_split(clevr_dir, "val", width=SIZE, height=SIZE)
  assert files[0].stat().st_mtime_ns == before
  np.testing.assert_array_equal(np.asarray(Image.open(files[1])), pictures[1])
  with pytest.raises(ValueError, match="32x32 pixels, not 16x16"):
    render_split(clevr_dir, "val", width=16, height=16)


def test_pictures_of_other_scenes_are_not_taken_for_these(clevr_dir, scenes):
  folder = render_split(clevr_dir, "val", width=SIZE, height=SIZE)
  path = clevr_dir / "scenes" / "CLEVR_val_scenes.json"
  path.write_text(json.dumps({"scenes": scenes[1:]}))
  with pytest.raises(FileExistsError, match=f"{folder} has pictures of other"):
    render_split(clevr_dir, "val", width=SIZE, height=SIZE, annotations=True)
  assert not (clevr_dir / "annotations").exists()
  # CLEVR's own pictures have no mark.
  (clevr_dir / ".made_from" / "render-val.json").unlink()
  render_split(clevr_dir, "val", width=SIZE, height=SIZE)


def test_scenes_of_few_objects_are_counted_once(clevr_dir, scenes, caplog):
  path = clevr_dir / "scenes" / "CLEVR_val_scenes.json"
  few = []
  for scene in scenes[:2]:
    lone = {**scene, "objects": scene["objects"][:1]}
    del lone["camera"]
    few.append(lone)
  path.write_text(json.dumps({"scenes": [*few, scenes[2]]}))
  with caplog.at_level("WARNING", "absl"):
    render_split(clevr_dir, "val", width=SIZE, height=SIZE)
  assert caplog.text.count("2 of 3 scenes have fewer than three objects") == 1


def test_a_split_is_written_by_one_at_a_time(clevr_dir):
  with (
    exclusive(clevr_dir / ".generate-val.lock"),
    pytest.raises(BusyError, match=r"images/val: another run .*process \d+ on"),
  ):
    render_split(clevr_dir, "val", width=SIZE, height=SIZE)
  assert not (clevr_dir / "images").exists()


def test_file_names_cannot_leave_the_folder(clevr_dir, scenes):
  path = clevr_dir / "scenes" / "CLEVR_val_scenes.json"
  outside = {**scenes[0], "image_filename": "../x.png"}
  path.write_text(json.dumps({"scenes": [outside]}))
  with pytest.raises(ValueError, match=r"scene 0: image_filename"):
    render_split(clevr_dir, "val")
  with pytest.raises(ValueError, match="no such file"):
    render_split(clevr_dir, "train")


@pytest.mark.skipif(not GOLD.is_dir(), reason=f"{GOLD} is absent")
def test_pictures_are_like_blenders():
  fidelity = importlib.import_module("benchmarks.render_fidelity")
  path = GOLD / "scenes" / "CLEVR_val_scenes.json"
  scenes = json.loads(path.read_text())["scenes"][:3]
  lamps = [fidelity.replay_lamps(scene["image_index"]) for scene in scenes]
  expected = [
    to_rgb(Image.open(GOLD / "images" / "val" / s["image_filename"]), SIZE)
    for s in scenes
  ]
  found = render(scenes, SIZE, SIZE, lamps=lamps)
  assert (fidelity.psnr(np.stack(expected), found) > 37.5).all()
