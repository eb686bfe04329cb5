"""CLEVR folders that are damaged or made to do harm: a clear error, soon."""

import json
import os
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from small_clevr import make_questions, make_scene, write_clevr

from data_prep.convert_clevr import convert
from rn_jax.data import records
from rn_jax.data.clevr_json import (
  Nesting,
  SourceError,
  read_value,
)
from rn_jax.data.dataset import load_dataset
from rn_jax.data.records import RecordError
from rn_jax.default_config import get_config

INFINITE = '"infinite"'  # stands for a number that JSON writers do not write


def write_scenes(root, scenes, number=2):
  write_clevr(root, "train", scenes, make_questions(number))
  path = root / "scenes" / "CLEVR_train_scenes.json"
  path.write_text(path.read_text().replace(INFINITE, "1e300"))
  return path


BAD_NUMBERS = [None, "1.5", True, [1.0], {}, "infinite", 1e39, -1e39]
FIELDS = {"3d_coords": 3, "pixel_coords": 3, "rotation": None}


@pytest.mark.parametrize("bad", BAD_NUMBERS, ids=repr)
@pytest.mark.parametrize("field", FIELDS)
def test_numbers_are_finite_numbers(tmp_path, field, bad):
  scenes = [make_scene(0), make_scene(1)]
  item = scenes[1]["objects"][1]
  item[field] = [1.0, bad, 2.0] if FIELDS[field] else bad
  path = write_scenes(tmp_path, scenes)
  message = rf"{path}: scene 1 \(.*01\.png\): .*object 1: {field} is .* finite"
  with pytest.raises(SourceError, match=message):
    convert(tmp_path, tmp_path / "out", workers=1)
  assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("value", [[], [1.0, 2.0], [1.0] * 6, "123", 1.0, None])
@pytest.mark.parametrize("field", ["3d_coords", "pixel_coords"])
def test_coordinates_are_three(tmp_path, field, value):
  scenes = [make_scene(0), make_scene(1)]
  # Six and none, or one and five, would fit together.
  scenes[0]["objects"][1][field] = value
  path = write_scenes(tmp_path, scenes)
  with pytest.raises(
    SourceError, match=rf"{path}: scene 0 .*object 1: {field}"
  ):
    convert(tmp_path, tmp_path / "out", workers=1)


@pytest.mark.parametrize(
  "change",
  [
    *({"color": None}, {"shape": ["cube"]}, {"size": {}}, {"material": 3}),
    {"color": "mauve"},
  ],
  ids=repr,
)
def test_attributes_are_known_words(tmp_path, change):
  scenes = [make_scene(0), make_scene(1)]
  scenes[0]["objects"][0].update(change)
  write_scenes(tmp_path, scenes)
  (field,) = change
  with pytest.raises(
    SourceError, match=f"scene 0 .*object 0: {field} is .*none"
  ):
    convert(tmp_path, tmp_path / "out", workers=1)


@pytest.mark.parametrize(
  "rows",
  [
    *([[], [0.0]], [[], [False]], [[], ["0"]], [[], [None]], [[], [0, 0]]),
    *([[], [-1]], [[], [1]], [[], 0], [[], {"0": 0}], {"0": [], "1": []}),
    *("ab", None, 3, [[]], [[], [[0]]]),
  ],
  ids=repr,
)
def test_relations_name_other_objects_once(tmp_path, rows):
  scenes = [make_scene(0), make_scene(1)]
  scenes[1]["relationships"]["front"] = rows
  path = write_scenes(tmp_path, scenes)
  with pytest.raises(SourceError, match=f"{path}: scene 1 .*front"):
    convert(tmp_path, tmp_path / "out", workers=1)


@pytest.mark.parametrize("value", [None, 3, "scene", [3], {"a": 1}, [None]])
@pytest.mark.parametrize("field", ["objects", "relationships"])
def test_parts_of_scenes_of_another_type(tmp_path, field, value):
  scenes = [make_scene(0), make_scene(1)]
  scenes[1][field] = value
  path = write_scenes(tmp_path, scenes)
  if (field, value) == ("relationships", None):  # then they are derived
    assert convert(tmp_path, tmp_path / "out", workers=1)
    return
  with pytest.raises(SourceError, match=f"{path}: scene 1 "):
    convert(tmp_path, tmp_path / "out", workers=1)


@pytest.mark.parametrize("index", [-1, 1.0, True, "1", 2**63])
def test_numbers_of_images(tmp_path, index):
  scenes = [make_scene(0), make_scene(1)]
  scenes[1]["image_index"] = index
  path = write_scenes(tmp_path, scenes)
  with pytest.raises(SourceError, match=rf"{path}(: scene 1|.*overflow)"):
    convert(tmp_path, tmp_path / "out", workers=1)


@pytest.mark.parametrize("opening", ["[", '{"a":', '["]]]\\"]]", '])
@pytest.mark.parametrize("kind", ["scenes", "questions"])
def test_nesting_without_end_is_refused_at_once(tmp_path, kind, opening):
  write_scenes(tmp_path, [make_scene(0), make_scene(1)])
  path = tmp_path / kind / f"CLEVR_train_{kind}.json"
  # Within a list as outside of it, and in an element as beside it.
  bomb = opening * 200_000
  for before in ("", f'{{"{kind}": [', f'{{"{kind}": [{{"a": 1}}], "b": '):
    path.write_text(before + bomb)
    with pytest.raises(SourceError, match=rf"{path}: .*more than 64 deep"):
      convert(tmp_path, tmp_path / "out", workers=1)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_values_nested_without_end_are_refused(tmp_path, opening):
  path = tmp_path / "a.json"
  path.write_text(f'{{"info": {{"a": 1}}, "b": {opening * 1_000}')
  with pytest.raises(SourceError, match=rf"{path}: .*more than 64 deep"):
    read_value(path, "info")


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_depth_does_not_depend_on_the_pieces(size):
  quoted = '"[[[\\\\\\"[[[{\\\\"'
  shallow = f"[{quoted}, [{{{quoted}: []}}]]" * 100
  for text, is_deep in ((shallow, False), (shallow + "[" * 65, True)):
    nesting = Nesting()
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    if is_deep:
      with pytest.raises(ValueError, match="64 deep"):
        [nesting.follow(piece.encode()) for piece in pieces]
    else:
      assert isinstance(json.loads(f"[{quoted}]"), list)
      [nesting.follow(piece.encode()) for piece in pieces]


def png_of(width, height):
  """A PNG file that claims to be large, of a few bytes."""

  def chunk(kind, data):
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum

  header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
  return b"".join(
    [
      b"\x89PNG\r\n\x1a\n",
      chunk(b"IHDR", header),
      chunk(b"IDAT", zlib.compress(bytes(10**6))),
      chunk(b"IEND", b""),
    ]
  )


MAKE = {
  "fifo": os.mkfifo,
  "folder": os.mkdir,
  "loop": lambda path: path.symlink_to(path.name),
  "broken link": lambda path: path.symlink_to("nothing"),
  "device": lambda path: path.symlink_to("/dev/zero"),
  "huge": lambda path: path.write_bytes(png_of(50_000, 50_000)),
}


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("image_size", [0, 16])
def test_images_that_are_none(tmp_path, kind, image_size):
  image = Image.fromarray(np.zeros((16, 16, 3), np.uint8))
  scenes = [make_scene(0), make_scene(1)]
  write_clevr(tmp_path, "train", scenes, make_questions(2), image)
  path = tmp_path / "images" / "train" / "CLEVR_train_000001.png"
  path.unlink()
  MAKE[kind](path)
  with pytest.raises(SourceError, match=re.escape(str(path))):
    convert(tmp_path, tmp_path / "out", image_size=image_size, workers=1)


def test_the_vocabulary_is_that_of_the_records(tmp_path):
  write_scenes(tmp_path, [make_scene(0), make_scene(1)])
  folder = tmp_path / "out"
  convert(tmp_path, folder, workers=1)
  data = get_config().data
  data.dir = str(folder)
  data.cache = False
  load_dataset(data, "states", "train")
  path = folder / records.VOCABULARY
  words = json.loads(path.read_text())
  first, second, *_ = words["answers"]
  changed = dict(words["answers"])
  changed[first], changed[second] = changed[second], changed[first]
  path.write_text(json.dumps(words | {"answers": changed}))
  with pytest.raises(RecordError, match=r"vocabulary.json: its SHA-256"):
    load_dataset(data, "states", "train")
  # Earlier versions did not write the hash.
  manifest = folder / records.MANIFEST
  content = json.loads(manifest.read_text())
  del content["vocabulary_sha256"]
  manifest.write_text(json.dumps(content))
  assert load_dataset(data, "states", "train").vocabulary["answers"] == changed
