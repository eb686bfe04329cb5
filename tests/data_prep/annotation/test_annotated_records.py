"""Annotations on their way from a command into records."""

import json

import numpy as np
import pytest
from PIL import Image

from configs import common
from data_prep.annotation import rle
from data_prep.convert_clevr import convert
from data_prep.generate import generate
from data_prep.generation.job import Job
from data_prep.render import render_split
from data_prep.rendering import drawing
from data_prep.rendering.camera import FRAME
from data_prep.show_annotations import show_annotations
from rn_jax.data import records
from rn_jax.data.clevr_json import SourceError
from rn_jax.data.dataset import load_dataset
from rn_jax.data.states import boxes_of_records
from rn_jax.retrieval.describe.sources import split_source

SIZE = (48, 32)


def make(folder, split="train", num_scenes=4, **options):
  quick = {"templates": ("zero_hop",), "min_visible_pixels": 0}
  job = Job(split, num_scenes, 3, max_objects=4, **quick)
  return generate(folder, job, workers=1, size=SIZE, **options)


@pytest.fixture(autouse=True)
def _quick_pictures(monkeypatch):
  def render(scenes, width, height, frame=FRAME):
    return np.zeros((len(scenes), height, width, 3), np.uint8)

  monkeypatch.setattr(drawing, "render", render)


def test_records_hold_boxes_and_masks(tmp_path):
  clevr, direct, detour = (tmp_path / n for n in ("clevr", "direct", "detour"))
  make(clevr, images=True, annotations=True)
  make(clevr, records_dir=direct, annotations=True)
  convert(clevr, detour, image_size=128, annotations=True, workers=1)
  assert [p.read_bytes() for p in records.shard_paths(direct, "train")] == [
    p.read_bytes() for p in records.shard_paths(detour, "train")
  ]
  path = clevr / "annotations" / "CLEVR_train_annotations.json"
  annotations = json.loads(path.read_text())["annotations"]
  found = 0
  for scene in records.read_scenes(direct, "train"):
    objects = scene["objects"]
    assert objects["bbox"].shape == (len(objects["rotation"]), 4)
    for item in annotations:
      if item["image_id"] != scene["image_index"]:
        continue
      i = item["object"]
      assert objects["mask"][i] == item["segmentation"]["counts"]
      assert objects["mask_size"][i].tolist() == [SIZE[1], SIZE[0]]
      left, upper, width, height = item["bbox"]
      expected = [left / 48, upper / 32, (left + width) / 48]
      np.testing.assert_allclose(
        objects["bbox"][i], [*expected, (upper + height) / 32], rtol=1e-6
      )
      found += 1
    payload = records.encode_scene(scene)
    again = records.decode_scene(payload)["objects"]
    assert again["mask"] == objects["mask"]
    np.testing.assert_array_equal(again["bbox"], objects["bbox"])
  assert found == len(annotations) > 8


def test_records_without_annotations_stay_as_they_were(tmp_path):
  make(tmp_path / "clevr", images=True, annotations=True)
  make(tmp_path / "other", images=True)
  contents = []
  for name in ("clevr", "other"):
    out = tmp_path / f"{name}_records"
    convert(tmp_path / name, out, workers=1)
    contents.append([p.read_bytes() for p in records.shard_paths(out, "train")])
    (scene, *_) = records.read_scenes(out, "train")
    assert not {"bbox", "mask", "mask_size"} & set(scene["objects"])
    assert "bbox" not in (out / "features.json").read_text()
  assert contents[0] == contents[1]


@pytest.mark.filterwarnings("ignore")  # of the library, about its imports
def test_tfds_is_told_of_the_fields(tmp_path):
  tfds = pytest.importorskip("tensorflow_datasets")
  make(tmp_path / "clevr", records_dir=tmp_path / "out", annotations=True)
  builder = tfds.builder_from_directory(tmp_path / "out")
  fields = builder.info.features["objects"].feature
  assert fields["bbox"].shape == (4,)
  assert fields["mask_size"].shape == (2,)
  assert "mask" in fields


def test_an_object_that_is_not_seen_has_an_empty_mask(tmp_path):
  make(tmp_path, images=True, annotations=True)
  path = tmp_path / "annotations" / "CLEVR_train_annotations.json"
  content = json.loads(path.read_text())
  content["annotations"] = content["annotations"][1:]
  path.write_text(json.dumps(content))
  convert(tmp_path, tmp_path / "out", annotations=True, workers=1)
  scene = next(iter(records.read_scenes(tmp_path / "out", "train")))
  objects = scene["objects"]
  assert objects["bbox"][0].tolist() == [0, 0, 0, 0]
  assert not rle.decode(objects["mask"][0], *objects["mask_size"][0]).any()
  assert (objects["bbox"][1:, 2:] > objects["bbox"][1:, :2]).all()


def test_what_does_not_belong_together_is_refused(tmp_path):
  clevr, out = tmp_path / "clevr", tmp_path / "out"
  make(clevr, images=True)
  with pytest.raises(ValueError, match="no such file; make it with"):
    convert(clevr, out, annotations=True, workers=1)
  make(clevr, annotations=True)
  convert(clevr, out, annotations=True, workers=1)
  make(clevr, "val", images=True)
  with pytest.raises(records.RecordError, match="with other arguments"):
    convert(clevr, out, ["val"], workers=1)
  path = clevr / "annotations" / "CLEVR_train_annotations.json"
  content = json.loads(path.read_text())
  del content["annotations"][2]["bbox"]
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match="annotation 2 is damaged"):
    convert(clevr, tmp_path / "2", ["train"], annotations=True, workers=1)
  scenes = clevr / "scenes" / "CLEVR_train_scenes.json"
  scenes.write_text(scenes.read_text() + " ")
  with pytest.raises(ValueError, match="or of other scenes"):
    convert(clevr, tmp_path / "3", ["train"], annotations=True, workers=1)


def test_a_test_split_tells_nothing(tmp_path):
  with pytest.raises(ValueError, match="'test' keeps to itself"):
    make(tmp_path, "test", annotations=True)
  # Beside annotated splits it goes into the records, without objects.
  make(tmp_path, "train", images=True, annotations=True)
  make(tmp_path, "test", images=True)
  out = tmp_path / "out"
  convert(tmp_path, out, annotations=True, workers=1)
  scene = next(iter(records.read_scenes(out, "test")))
  assert scene["objects"]["bbox"].shape == (0, 4)
  assert scene["objects"]["mask"] == []


def test_scenes_of_a_folder_are_annotated_and_shown(tmp_path):
  make(tmp_path, images=True)
  sheet = tmp_path / "sheet.png"
  with pytest.raises(ValueError, match="no such file; make it with"):
    show_annotations(tmp_path, "train", sheet)
  render_split(
    tmp_path, "train", width=SIZE[0], height=SIZE[1], annotations=True
  )
  show_annotations(tmp_path, "train", sheet, num_images=3, columns=2)
  with Image.open(sheet) as image:
    assert image.size == (2 * SIZE[0], 2 * SIZE[1])
    assert len(image.convert("RGB").getcolors()) > 4  # the pictures are black
  path = tmp_path / "annotations" / "CLEVR_train_annotations.json"
  text = path.read_text()
  path.write_text(text.replace('"segmentation"', '"polygons"'))
  with pytest.raises(SourceError, match="an annotation is damaged"):
    show_annotations(tmp_path, "train", sheet)
  path.write_text(text)
  picture = min((tmp_path / "images" / "train").iterdir())
  Image.new("RGB", (9, 8)).save(picture)
  with pytest.raises(SourceError, match="and there are some of 9x8"):
    show_annotations(tmp_path, "train", sheet)


def test_networks_read_the_boxes_of_records(tmp_path):
  make(tmp_path / "clevr", records_dir=tmp_path / "out", annotations=True)
  config = common.get_config().data
  config.dir, config.boxes = str(tmp_path / "out"), True
  found = load_dataset(config, "states", "train").scenes
  assert found["objects"].shape[1:] == (10, 7)
  for row, scene in enumerate(records.read_scenes(config.dir, "train")):
    boxes = scene["objects"]["bbox"]
    np.testing.assert_array_equal(found["boxes"][row, : len(boxes)], boxes)
    assert not found["boxes"][row, len(boxes) :].any()
  described = split_source(config, "states", "train").read(0, 4).arrays
  for name, values in found.items():
    np.testing.assert_array_equal(described[name], values)
  config.boxes = False  # has a cached file of its own
  without = load_dataset(config, "states", "train").scenes
  assert set(without) == {"objects", "object_mask"}
  for name, values in without.items():
    np.testing.assert_array_equal(values, found[name])


def test_records_without_boxes_are_refused_where_boxes_are_read(tmp_path):
  make(tmp_path / "clevr", records_dir=tmp_path / "out")
  config = common.get_config().data
  config.dir, config.boxes = str(tmp_path / "out"), True
  with pytest.raises(records.RecordError, match=r"boxes.*--annotations"):
    load_dataset(config, "states", "train")


@pytest.mark.parametrize(
  ("bbox", "reason"),
  [
    ([[0.2, 0.1, 0.2, 0.3]], "without extent"),
    ([[0.2, 0.1, np.nan, 0.3]], "without extent"),
    ([[0.2, 0.1, 0.3, 0.3]] * 2, "8 edges of boxes for 1 objects"),
  ],
)
def test_damaged_boxes_are_refused(bbox, reason):
  arrays = {"3d_coords": np.zeros((1, 3)), "bbox": np.array(bbox)}
  with pytest.raises(records.RecordError, match=f"scene 7.*{reason}"):
    boxes_of_records(arrays, 10, "scene 7")
