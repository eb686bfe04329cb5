"""Annotations show what the renderer draws, in the form that COCO reads."""

import functools
import json

import jax
import numpy as np
import pytest

from data_prep.annotation import files, rle
from data_prep.annotation.coco import annotations_of
from data_prep.annotation.files import annotate_split
from data_prep.annotation.silhouettes import box_of, silhouettes
from data_prep.generation.scenes import sample_scene
from data_prep.rendering import trace
from data_prep.rendering.engine import stage_of
from data_prep.rendering.picture import SMALL_TILES, index_picture
from rn_jax.host.pool import Pool

SIZE = (96, 48)  # neither CLEVR's ratio nor that of the frame
FRAME = (320, 240)


@pytest.fixture(scope="module")
def scenes():
  return [sample_scene(4, "val", i, min_objects=8) for i in range(5)]


@pytest.fixture
def clevr_dir(tmp_path, scenes):
  (tmp_path / "scenes").mkdir()
  path = tmp_path / "scenes" / "CLEVR_val_scenes.json"
  path.write_text(json.dumps({"scenes": scenes}))
  return tmp_path


def _masks():
  random = np.random.default_rng(0)
  yield from (random.random((7, 5)) < p for p in (0.1, 0.5, 0.9))
  yield from (np.zeros((3, 4), bool), np.ones((3, 4), bool))
  blob = np.zeros((240, 320), bool)
  blob[30:200, 100:290] = True  # runs of more than one digit
  blob[60, 120] = False
  yield blob


@pytest.mark.parametrize("mask", list(_masks()))
def test_masks_come_back(mask):
  np.testing.assert_array_equal(rle.decode(rle.encode(mask), *mask.shape), mask)


@pytest.mark.parametrize("mask", list(_masks()))
def test_counts_are_cocos(mask):
  coco = pytest.importorskip("pycocotools.mask")
  expected = coco.encode(np.asfortranarray(mask, np.uint8))
  assert rle.encode(mask).encode() == expected["counts"]


def test_counts_of_another_size_are_refused():
  counts = rle.encode(np.eye(4, dtype=bool))
  for bad, size in ((counts, (4, 5)), (counts[:-1], (4, 4)), ("o", (4, 4))):
    with pytest.raises(ValueError, match="do not make a mask"):
      rle.decode(bad, *size)


def test_what_is_seen_is_what_is_drawn(scenes):
  width, height = 288, 128
  first, *others = scenes[0]["objects"]
  x, y, z = first["3d_coords"]
  sunk = {**first, "3d_coords": [x, y, z / 2]}
  scene = {**scenes[0], "objects": [sunk, *others]}
  found = silhouettes(scene, (width, height), FRAME)
  draw = functools.partial(
    index_picture, width=width, height=height, plan=SMALL_TILES
  )
  drawn = np.asarray(jax.jit(draw)(stage_of(scene, frame=FRAME)))
  alone = sum(item.amodal for item in found) > 0
  assert (alone & (drawn == trace.GROUND)).sum() > 12
  for i, item in enumerate(found):
    # Rounding may tip a ray on an outline to the other side.
    assert ((drawn == i) != item.visible).sum() <= 1
    assert item.visible.any()


def test_the_amodal_mask_is_that_of_the_object_alone(scenes):
  hidden = 0
  for scene in scenes:
    together = silhouettes(scene)
    for item, thing in zip(together, scene["objects"], strict=True):
      (alone,) = silhouettes({**scene, "objects": [thing]})
      np.testing.assert_array_equal(item.amodal, alone.amodal)
      assert not (item.visible & ~item.amodal).any()
      # Where nothing else stands, only the ground hides a little.
      missing = alone.amodal & ~alone.visible
      assert missing.sum() < 0.1 * alone.amodal.sum()
      hidden += (item.visible.sum() < 0.9 * alone.visible.sum()).item()
      middle = thing["pixel_coords"][2]
      assert middle - 1.2 < item.depth < middle
    assert sum(item.visible for item in together).max() == 1
  assert hidden > 3


def test_boxes_hold_masks():
  mask = np.zeros((6, 8), bool)
  assert box_of(mask) == (0, 0, 0, 0)
  mask[2, 3] = mask[4, 5] = True
  assert box_of(mask) == (3, 2, 6, 5)


def test_objects_without_a_pixel_are_left_out(scenes):
  thing = scenes[0]["objects"][0]
  inside = {**thing, "size": "small", "shape": "sphere"}
  outside = {**thing, "size": "large", "shape": "cube"}
  scene = {**scenes[0], "objects": [inside, outside]}
  (only,) = annotations_of(scene)
  assert only["object"] == 1


# Of pycocotools, about the arrays that it hands out.
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_the_file_is_cocos(clevr_dir, scenes):
  path = annotate_split(clevr_dir, "val", size=SIZE, pool=Pool(1))
  assert path == clevr_dir / "annotations" / "CLEVR_val_annotations.json"
  content = json.loads(path.read_text())
  assert [c["name"] for c in content["categories"]] == [
    "sphere",
    "cube",
    "cylinder",
  ]
  assert [i["file_name"] for i in content["images"]] == [
    s["image_filename"] for s in scenes
  ]
  assert [a["id"] for a in content["annotations"]] == list(
    range(1, len(content["annotations"]) + 1)
  )
  for item in content["annotations"]:
    thing = scenes[item["image_id"]]["objects"][item["object"]]
    assert (
      content["categories"][item["category_id"] - 1]["name"] == (thing["shape"])
    )
    for name, value in item["attributes"].items():
      assert thing[name] == value
    for prefix in ("", "amodal_"):
      mask = rle.decode(item[f"{prefix}segmentation"]["counts"], *SIZE[::-1])
      left, upper, right, lower = box_of(mask)
      assert item[f"{prefix}bbox"] == [left, upper, right - left, lower - upper]
      assert item[f"{prefix}area"] == mask.sum() > 0
  coco = pytest.importorskip("pycocotools.coco").COCO(str(path))
  for number, item in coco.anns.items():
    assert coco.annToMask(item).sum() == item["area"], number


def test_parts_are_kept_and_workers_do_not_matter(
  clevr_dir, tmp_path, monkeypatch
):
  monkeypatch.setattr(files, "_SCENES_PER_PART", 2)
  two = annotate_split(
    clevr_dir, "val", tmp_path / "two", size=SIZE, pool=Pool(2)
  )
  numbers = []

  def make(scene, *size):
    if len(numbers) == 3:
      raise KeyboardInterrupt
    numbers.append(scene["image_index"])
    return annotations_of(scene, *size)

  cut = functools.partial(
    annotate_split, clevr_dir, "val", tmp_path / "cut", size=SIZE, pool=Pool(1)
  )
  with monkeypatch.context() as patch:
    patch.setattr(files, "annotations_of", make)
    with pytest.raises(KeyboardInterrupt):
      cut()
    assert not list((tmp_path / "cut").glob("annotations/*.json"))
    numbers[:] = [None]
    cut_at = []
    patch.setattr(
      files,
      "annotations_of",
      lambda s, *size: (
        cut_at.append(s["image_index"]) or annotations_of(s, *size)
      ),
    )
    path = cut()
  assert cut_at == [2, 3, 4]  # the first part was whole
  assert path.read_bytes() == two.read_bytes()
  assert not list(path.parent.glob(".*"))


def test_those_of_other_pictures_are_not_kept(clevr_dir, scenes):
  path = annotate_split(clevr_dir, "val", size=SIZE, pool=Pool(1))
  before = path.stat().st_mtime_ns
  annotate_split(clevr_dir, "val", size=SIZE, pool=Pool(1))
  assert path.stat().st_mtime_ns == before
  with pytest.raises(FileExistsError, match="another size"):
    annotate_split(clevr_dir, "val", size=(48, 32), pool=Pool(1))
  scenes_path = clevr_dir / "scenes" / "CLEVR_val_scenes.json"
  scenes_path.write_text(json.dumps({"scenes": scenes[:1]}))
  with pytest.raises(FileExistsError, match="other scenes"):
    annotate_split(clevr_dir, "val", size=SIZE, pool=Pool(1))
  again = {"pool": Pool(1), "overwrite": True}
  annotate_split(clevr_dir, "val", size=SIZE, **again)
  assert len(json.loads(path.read_text())["images"]) == 1
  before = path.stat().st_mtime_ns
  annotate_split(clevr_dir, "val", size=SIZE, **again)
  assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"image_index": None}, "scene 1 must have"),
    ({"image_index": 0}, "scene 1 must have .* of its own"),
    ({"objects": []}, "CLEVR_val_000001.png: the scene has no objects"),
  ],
)
def test_bad_scenes_are_named(clevr_dir, scenes, change, message):
  path = clevr_dir / "scenes" / "CLEVR_val_scenes.json"
  path.write_text(json.dumps({"scenes": [scenes[0], scenes[1] | change]}))
  with pytest.raises(ValueError, match=f"CLEVR_val_scenes.json: {message}"):
    annotate_split(clevr_dir, "val", size=SIZE, pool=Pool(1))
