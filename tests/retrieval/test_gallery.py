"""Galleries: the right images in the right places, in a page of their own."""

import dataclasses
import html.parser
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_scenes import generated

from data_prep.convert_clevr import convert
from rn_jax.retrieval.describe.features import (
  Features,
  FeaturesError,
  save_features,
)
from rn_jax.retrieval.describe.sources import split_source
from rn_jax.retrieval.gallery import write_gallery
from rn_jax.retrieval.pages.gallery_page import caption, html_page
from rn_jax.retrieval.pages.gallery_picture import draw_sheets
from rn_jax.retrieval.pages.gallery_sheets import Tile, compare
from rn_jax.retrieval.pages.thumbnails import load_pictures
from rn_jax.retrieval.scene_graphs.ground_truth_file import (
  GroundTruth,
  describe,
  save_ground_truth,
)

N = 6
GREEN = np.array([18, 161, 80])


@pytest.fixture
def scenes():
  return generated(N)


@pytest.fixture
def features(scenes):
  # On a line: image i at i, or, by the other descriptor, at -i^2.
  line = np.arange(N, dtype=np.float32)[:, None]
  about = {"a": {"label": "A", "metric": "euclidean"}}
  names = [f"<b>/{name}" for name in scenes.image_filename]
  return Features(
    {"a": line, "b": -(line**2)},
    np.arange(N),
    np.array(names),
    {"descriptors": about},
  )


@pytest.fixture
def truth(scenes):
  # Of image 1: 3 and 4 are nearest, then 5 and 0 equally.
  distances = np.array([[3, 0, 4, 1, 2, 3]], np.float32)
  return GroundTruth(
    distances, np.array([1]), scenes, describe(scenes, "v2", "soft")
  )


def test_rows_are_the_nearest_and_frames_the_hits(features, truth):
  (sheet,) = compare([features], [1], 3, truth=truth)
  assert (sheet.image, sheet.image_index) == (1, 1)
  best, a, b = sheet.rows
  assert [row.label for row in sheet.rows] == ["Ground truth v2 soft", "A", "b"]
  assert [tile.image for tile in best.tiles] == [3, 4, 0]
  assert [tile.distance for tile in best.tiles] == [1, 2, 3]
  assert not any(tile.hit for tile in best.tiles)
  # 5 is as near as the third; 2 is not.
  assert [(t.image, t.distance, t.hit) for t in a.tiles] == [
    (0, 1, True),
    (2, 1, False),
    (3, 2, True),
  ]
  assert [t.image for t in b.tiles] == [0, 2, 3]
  (whole,) = compare([features], [1], 9, descriptors=["a"])
  assert [t.image for t in whole.rows[0].tiles] == [0, 2, 3, 4, 5]
  assert not any(t.hit for t in whole.rows[0].tiles)


def test_several_files_are_matched_by_image(features, truth):
  order = np.array([5, 3, 1, 0, 2, 4])
  other = Features(
    {"a": features.descriptors["a"][order]},
    features.image_index[order],
    features.image_filename[order],
    {"descriptors": {"a": {"label": "A"}}, "network": {"name": "RN"}},
  )
  for known in (truth, None):
    (sheet,) = compare([features, other], [1], 3, truth=known)
    rows = {row.label: row.tiles for row in sheet.rows}
    assert [t.image for t in rows["A, RN"]] == [
      t.image for t in rows["A, imported"]
    ]


def test_what_is_not_there(features, truth):
  other = dataclasses.replace(
    features, image_filename=features.image_filename[::-1]
  )
  with pytest.raises(FeaturesError, match=r"image 0 is CLEVR_.* in others"):
    compare([features, other], [1])
  with pytest.raises(FeaturesError, match="no descriptor 'c' here"):
    compare([features], [1], descriptors=["c"])
  with pytest.raises(FeaturesError, match="no image of index 9 here"):
    compare([features], [9])
  with pytest.raises(ValueError, match=r"image 2 is no query .* are 1"):
    compare([features], [2], truth=truth)
  with pytest.raises(ValueError, match="--images=FOLDER"):
    load_pictures(features, [0])


class Page(html.parser.HTMLParser):
  def __init__(self, text):
    super().__init__()
    self.tags, self.classes, self.style = [], [], ""
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))
    self.classes += (dict(attributes).get("class") or "").split()

  def handle_data(self, data):
    if self.tags and self.tags[-1][0] == "style":
      self.style += data


def test_page_needs_nothing_but_itself(features, truth):
  sheets = compare([features], [1], 3, truth=truth)
  pictures = {i: Image.new("RGB", (48, 32), (40 * i, 0, 0)) for i in range(N)}
  text = html_page(sheets, pictures)
  page = Page(text)
  for tag, attributes in page.tags:
    assert tag not in {"script", "link", "iframe", "object", "base", "b"}
    assert not {"src", "href", "srcset", "style", "onclick"} & set(attributes)
  addresses = re.findall(r"url\(([^)]*)\)", page.style)
  assert len(addresses) == 5  # of six, image 5 is not among them
  assert all(a.startswith("data:image/jpeg;base64,") for a in addresses)
  assert "@import" not in text
  assert not re.search(r"https?://", text)
  shown = [c for c in page.classes if re.fullmatch(r"p\d+", c)]
  assert len(shown) == 1 + 3 * 3 + 5  # and each enlarged
  for name in shown:
    assert f".{name} {{" in page.style
  hits = sum(t.hit for row in sheets[0].rows for t in row.tiles)
  assert page.classes.count("hit") == hits == 4
  assert text.count("<h2>") == 3
  assert "&lt;b&gt;/" in text


def test_hits_are_marked_in_words_and_all_pictures_enlarge(features, truth):
  sheets = compare([features], [1], 3, truth=truth)
  pictures = {i: Image.new("RGB", (48, 32)) for i in range(N)}
  text = html_page(sheets, pictures)
  hits = sum(t.hit for row in sheets[0].rows for t in row.tiles)
  marked = re.findall(r'<figure class="hit">.*?<figcaption>✓ ', text, re.DOTALL)
  assert len(marked) == text.count("<figcaption>✓ ") == hits == 4
  assert "✓" not in html_page(compare([features], [1], 3), pictures)
  page = Page(text)
  ids = {a["id"] for _, a in page.tags if "popover" in a}
  buttons = [a["popovertarget"] for tag, a in page.tags if tag == "button"]
  assert set(buttons) == ids
  assert len(buttons) == 1 + 3 * 3 + 5  # every picture, and to close
  # The browser's own buttons take the keyboard; no index may forbid it.
  assert not any("tabindex" in a for _, a in page.tags)
  images = [a for _, a in page.tags if "picture" in a.get("class", "").split()]
  assert all(a["role"] == "img" and a["aria-label"] for a in images)


def test_captions_have_three_digits():
  distances = (0.1, 0.08284, 5.25, 12, 123.4)
  assert [caption(1, Tile(0, "", d, False)) for d in distances] == [
    "1 · 0.100",
    "1 · 0.0828",
    "1 · 5.25",
    "1 · 12.0",
    "1 · 123",
  ]


def test_picture_frames_the_hits(features, truth):
  pictures = {i: Image.new("RGB", (48, 32), "gray") for i in range(N)}
  counts = []
  for known in (truth, None):
    sheets = compare([features], [1], 3, truth=known)
    image = np.asarray(draw_sheets(sheets, pictures)).astype(int)
    assert image[0, 0, 3] == 0  # Dark pages show through.
    runs = (np.abs(image[..., :3] - GREEN).sum(-1) == 0).sum(1)
    counts.append((runs > 100).sum())
  # A frame's upper and lower edge are four pixels high; two rows have hits.
  assert counts == [2 * 8, 0]


def test_writes_what_is_asked_for(features, truth, tmp_path):
  features.metadata["source"] = {"folder": str(tmp_path / "moved")}
  folder = tmp_path / "images"
  folder.mkdir()
  for name in features.image_filename:
    Image.new("L", (48, 32)).save(folder / name.split("/")[1])
  save_features(tmp_path / "f.npz", features)
  save_ground_truth(tmp_path / "t.npz", truth)
  files = [tmp_path / "g.html", tmp_path / "g.png"]
  arguments = {"ground_truth": tmp_path / "t.npz", "k": 2}
  with pytest.raises(FileNotFoundError):
    write_gallery(files, [tmp_path / "f.npz"], [1], **arguments)
  assert not any(path.exists() for path in files)
  write_gallery(files, [tmp_path / "f.npz"], [1], images=folder, **arguments)
  assert files[0].read_text().startswith("<!DOCTYPE html>")
  with Image.open(files[1]) as image:
    assert image.format == "PNG"
    assert image.width > 400
  with pytest.raises(ValueError, match="png or"):
    write_gallery([tmp_path / "g.pdf"], [tmp_path / "f.npz"], [1])


def test_names_that_are_no_utf8_do_not_spoil_a_page(features, tmp_path):
  names = features.image_filename.copy()
  names[1] = "caf\udce9.png"
  odd = dataclasses.replace(features, image_filename=names)
  save_features(tmp_path / "f.npz", odd)
  for name in [*features.image_filename.tolist(), names[1]]:
    path = os.fsencode(tmp_path / Path(name).name)
    with open(path, "wb") as file:
      Image.new("RGB", (6, 4)).save(file, "png")
  page = tmp_path / "x.html"
  write_gallery([page], [tmp_path / "f.npz"], [1], images=tmp_path)
  assert "caf\\udce9.png" in page.read_text()


def test_pictures_come_from_records(make_config, records_dir, clevr_dir):
  config = make_config("ir_fp")
  found = split_source(config.data, "pixels", "val").read(0, 5)
  features = Features(
    {"a": np.zeros((5, 1), np.float32)},
    found.image_index,
    found.image_filename,
    {"source": {"records": str(records_dir), "split": "val"}},
  )
  pictures = load_pictures(features, [3, 1])
  assert sorted(pictures) == [1, 3]
  for row, picture in pictures.items():
    np.testing.assert_array_equal(
      np.asarray(picture), found.arrays["image"][row]
    )
  features.image_filename[1] = "else.png"
  with pytest.raises(ValueError, match=r"has no else\.png"):
    load_pictures(features, [3, 1])


def test_pictures_are_no_larger_than_a_page_shows_them(features, tmp_path):
  for name in features.image_filename[:2].tolist():
    Image.new("RGB", (3000, 2000)).save(tmp_path / Path(name).name)
  pictures = load_pictures(features, [0, 1], tmp_path)
  assert {picture.size for picture in pictures.values()} == {(480, 320)}


def test_scenes_without_images_are_drawn(clevr_dir, records_dir, tmp_path):
  scenes_only = tmp_path / "clevr"
  scenes_only.mkdir()
  for part in ("scenes", "questions"):
    (scenes_only / part).symlink_to(clevr_dir / part)
  convert(
    scenes_only,
    tmp_path / "records",
    splits=("val",),
    vocabulary=records_dir / "vocabulary.json",
    workers=1,
  )
  features = Features(
    {"a": np.zeros((2, 1), np.float32)},
    np.arange(2),
    np.array(["CLEVR_val_000000.png", "CLEVR_val_000001.png"]),
    {"source": {"records": str(tmp_path / "records"), "split": "val"}},
  )
  pictures = load_pictures(features, [0, 1])
  first, second = (np.asarray(pictures[i]).astype(int) for i in range(2))
  assert first.shape == (200, 200, 3)
  assert np.abs(first - second).max() > 100
