"""The most alike images of an index, and what differs."""

import json
import re
import shutil
import types

import numpy as np
import pytest
from PIL import Image
from small_network import write_network

from rn_jax.demo import html
from rn_jax.demo.desk import FAILED, Desk
from rn_jax.demo.similar import NUM_HITS, open_similar, scenes_of
from rn_jax.demo.subjects import Subject
from rn_jax.retrieval.describe.features import load_features
from rn_jax.retrieval.extract import extract_command
from rn_jax.retrieval.index import build_index
from rn_jax.retrieval.nearest.index_files import ImageIndexError


@pytest.fixture
def scenes(clevr_dir):
  path = clevr_dir / "scenes/CLEVR_val_scenes.json"
  return json.loads(path.read_text())["scenes"]


def build(config, folder, **what):
  write_network(folder / "network", config)
  features = load_features(extract_command(folder / "network", folder, **what))
  return build_index(features, "g2_avg", folder / "index")


def test_pictures_of_a_folder_with_their_scenes(
  make_config, clevr_dir, scenes, tmp_path
):
  images = tmp_path / "images"
  shutil.copytree(clevr_dir / "images/val", images)
  build(make_config("ir_fp"), tmp_path, images=[str(images)])
  path = clevr_dir / "scenes/CLEVR_val_scenes.json"
  find = open_similar(tmp_path / "index", path)
  with Image.open(images / scenes[2]["image_filename"]) as image:
    picture = image.convert("RGB")
  found = find(Subject("a", scenes[2], picture, ()))
  assert len(found) == min(NUM_HITS, len(scenes))
  assert found[0].name == scenes[2]["image_filename"]
  assert found[0].distance == pytest.approx(0, abs=1e-4)
  assert found[0].explained["distance"] == 0
  assert found[0].picture.size == picture.size
  assert all(hit.explained["distance"] for hit in found[1:])
  page = html.alike(found)
  assert page.count("data:image/jpeg") == len(found)
  assert str(tmp_path) not in page
  text = " ".join(re.sub("<[^>]*>", " ", page).split())
  first = found[1].explained
  assert f"distance of the scene graphs: {first['distance']:g}" in text
  pair = next(p for p in first["matched"] if p["differences"])
  changes = ", ".join(f"{a} → {b}" for a, b in pair["differences"].values())
  assert f"{pair['names'][0]}: {changes}" in text
  # Without scenes there is nothing to compare; a lost picture is left out.
  (images / scenes[2]["image_filename"]).unlink()
  found = open_similar(tmp_path / "index")(Subject("a", None, picture, ()))
  assert found[0].explained is found[0].picture is None
  assert "What differs" not in html.alike(found)
  # A scene without a picture is not what this network reads.
  assert find(Subject("a", scenes[2], None, ())) is None
  assert "does not read" in html.alike(None)


def test_records_bring_their_scenes(make_config, records_dir, scenes, tmp_path):
  config = make_config("ir_sd")
  build(config, tmp_path, split="val")
  find = open_similar(tmp_path / "index")
  found = find(Subject("a", scenes[1], None, ()))
  assert found[0].name == scenes[1]["image_filename"]
  assert found[0].explained["distance"] == 0
  assert found[0].picture is not None


def test_each_image_has_its_own_scene(records_dir, clevr_dir, scenes, tmp_path):
  there = {"records": str(records_dir), "split": "val"}
  gone = {"records": str(tmp_path / "gone"), "split": "val"}
  name = scenes[0]["image_filename"]
  index = types.SimpleNamespace(
    header={"sources": [there, gone]},
    source=np.array([0, 1, 1]),
    image_filename=np.array([name, name, scenes[1]["image_filename"]]),
  )
  loaded = types.SimpleNamespace(files=index)
  found = scenes_of(loaded, None)
  assert {source for source, _ in found} == {0}
  assert len(found) == len(scenes)
  # The file does not say whose scenes they are.
  found = scenes_of(loaded, clevr_dir / "scenes/CLEVR_val_scenes.json")
  assert [*found] == [(1, scenes[1]["image_filename"])]


def test_an_index_is_checked_before_the_page_is_there(tmp_path):
  with pytest.raises(ImageIndexError, match="no index here"):
    open_similar(tmp_path)


def test_a_search_that_fails_leaves_the_rest(checkpoints, tools):
  def fail(_):
    raise ValueError("/secret/place was made with another network")

  shown = Desk(checkpoints, tools, fail).example("states")
  assert FAILED in shown.alike
  assert "secret" not in shown.alike
  assert "That is right" in shown.said
