"""Where scenes come from: folders of images, and records."""

import os

import numpy as np
import pytest
from PIL import Image

from configs import tiny
from data_prep.convert_clevr import convert
from rn_jax.data.images import ImageError
from rn_jax.retrieval.describe.sources import image_source, split_source


def test_what_is_no_regular_file_is_skipped(tmp_path):
  Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "good.png")
  os.mkfifo(tmp_path / "pipe.png")
  (tmp_path / "broken.png").symlink_to("nothing")
  (tmp_path / "loop.png").symlink_to("loop.png")
  (tmp_path / "device.png").symlink_to("/dev/zero")
  (tmp_path / "folder.png").mkdir()
  (tmp_path / "folder.png" / "round.png").symlink_to("..")
  source = image_source([str(tmp_path)], 4)
  found = source.read(0, source.size)
  assert found.image_filename.tolist() == ["good.png"]
  skipped = "\n".join(found.skipped)
  for name in ("pipe", "broken", "loop", "device"):
    assert f"{tmp_path / name}.png" in skipped
  with pytest.raises(ImageError, match=r"pipe\.png: .*no regular file"):
    image_source([str(tmp_path / "pipe.png")], 4).read(0, 1)


def test_parts_of_a_split_are_read_in_any_order(clevr_dir, tmp_path):
  convert(clevr_dir, tmp_path, ["val"], vocabulary="clevr", num_shards=2)
  data = tiny.get_config("ir_sd").data
  data.dir = str(tmp_path)
  whole = split_source(data, "states", "val").read(0, 5)
  source = split_source(data, "states", "val")
  for start, stop in ((3, 5), (0, 2), (2, 3), (1, 4), (4, 5)):
    found = source.read(start, stop)
    assert found.image_index.tolist() == list(range(start, stop))
    for name, x in found.arrays.items():
      np.testing.assert_array_equal(x, whole.arrays[name][start:stop])
