"""Generated images: in files or straight in records, whole, and resumable."""

import functools
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from data_prep.convert_clevr import convert
from data_prep.generate import generate
from data_prep.generation import pictures
from data_prep.generation.job import Job
from data_prep.render import render_split
from data_prep.rendering import drawing
from data_prep.rendering.camera import FRAME
from rn_jax.data import records
from rn_jax.data.clevr_json import SourceError
from rn_jax.host.exclusive import BusyError, exclusive


def make(folder, split, num_scenes, seed=0, **options):
  """Generates simple data quickly; `options` are those of `generate`."""
  quick = {"templates": ("zero_hop",), "min_visible_pixels": 0}
  job = Job(split, num_scenes, seed, max_objects=4, **quick)
  return generate(folder, job, workers=1, **options)


def fake_render(scenes, width, height, frame=FRAME):
  """Pictures that depend on all that the renderer looks at, and differ."""
  seeds = [
    json.dumps([s[k] for k in ("objects", "camera", "lamps")]) for s in scenes
  ]
  return np.stack(
    [
      np.random.default_rng(list(seed.encode())).integers(
        0, 256, (height, width, 3), np.uint8
      )
      for seed in seeds
    ]
  )


@pytest.fixture
def rendered(monkeypatch):
  """Replaces the renderer; lists the numbers of scenes it was given."""
  sizes = []

  def render(scenes, width, height, frame=FRAME):
    sizes.append(len(scenes))
    return fake_render(scenes, width, height)

  monkeypatch.setattr(drawing, "render", render)
  monkeypatch.setattr(drawing, "_BATCH", 4)
  return sizes


def _images(folder, split):
  return {
    p.name: p.read_bytes() for p in (folder / "images" / split).glob("*.png")
  }


def test_every_scene_gets_its_picture(tmp_path, rendered):
  make(tmp_path, "train", 10, images=True, size=(16, 16))
  assert rendered == [4, 4, 2]
  scenes = tmp_path / "scenes" / "CLEVR_train_scenes.json"
  for scene in json.loads(scenes.read_text())["scenes"]:
    path = tmp_path / "images" / "train" / scene["image_filename"]
    with Image.open(path) as image:
      assert image.mode == "RGB"
      assert (np.asarray(image) == fake_render([scene], 16, 16)[0]).all()


@pytest.mark.usefixtures("rendered")
def test_sizes(tmp_path):
  for name, options, size in (
    ("default", {}, (480, 320)),
    ("other", {"size": (24, 12)}, (24, 12)),
  ):
    make(tmp_path / name, "val", 1, images=True, **options)
    path = tmp_path / name / "images" / "val" / "CLEVR_val_000000.png"
    with Image.open(path) as image:
      assert image.size == size


@pytest.mark.parametrize("hidden", [False, True])
def test_drawing_goes_on_after_an_interruption(
  tmp_path, rendered, monkeypatch, hidden
):
  options = {"images": True, "size": (16, 16)}
  make(tmp_path / "whole", "train", 12, **options)
  rendered.clear()
  # Whatever a bar counts, also where TQDM_DISABLE=1 forbids them.
  bar = functools.partial(pictures.progress_bar, disable=hidden)
  monkeypatch.setattr(pictures, "progress_bar", bar)

  def fail_later(scenes, width, height, frame=FRAME):
    if len(rendered) == 2:
      raise KeyboardInterrupt
    rendered.append(len(scenes))
    return fake_render(scenes, width, height)

  with monkeypatch.context() as patch:
    patch.setattr(drawing, "render", fail_later)
    with pytest.raises(KeyboardInterrupt):
      make(tmp_path / "cut", "train", 12, **options)
  kept = _images(tmp_path / "cut", "train")
  assert 4 <= len(kept) <= 8
  rendered.clear()
  make(tmp_path / "cut", "train", 12, **options)
  assert sum(rendered) == 12 - len(kept)
  assert _images(tmp_path / "cut", "train") == _images(
    tmp_path / "whole", "train"
  )


@pytest.mark.usefixtures("rendered")
def test_pictures_of_other_scenes_are_not_kept(tmp_path):
  options = {"images": True, "size": (16, 16)}
  make(tmp_path, "train", 3, **options)
  before = _images(tmp_path, "train")
  with pytest.raises(FileExistsError, match=r"images.train has pictures"):
    make(tmp_path, "train", 3, **{**options, "size": (8, 8)})
  assert _images(tmp_path, "train") == before
  make(tmp_path, "train", 3, 1, overwrite=True, **options)
  after = _images(tmp_path, "train")
  assert set(after) == set(before)
  assert not set(after.values()) & set(before.values())


@pytest.mark.usefixtures("rendered")
def test_scenes_do_not_come_to_lie_beside_pictures_of_others(tmp_path):
  make(tmp_path, "train", 3, images=True, size=(16, 16))
  before = _images(tmp_path, "train")
  make(tmp_path, "train", 3)
  with pytest.raises(FileExistsError, match="made with other arguments"):
    make(tmp_path, "train", 3, 1)
  shutil.rmtree(tmp_path / "scenes")
  shutil.rmtree(tmp_path / "questions")
  with pytest.raises(FileExistsError, match=r"images.train has pictures"):
    make(tmp_path, "train", 3, 1)
  assert _images(tmp_path, "train") == before
  make(tmp_path, "train", 3, 1, overwrite=True)
  assert not _images(tmp_path, "train")


@pytest.mark.usefixtures("rendered")
@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_pictures_that_were_not_made_here_stay(tmp_path, known, images):
  # Of another program, or drawn of the scenes that were there before.
  if known:
    make(tmp_path, "train", 3)
    render_split(tmp_path, "train", width=16, height=16)
  else:
    folder = tmp_path / "images" / "train"
    folder.mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(folder / "CLEVR_train_000000.png")
  before = _images(tmp_path, "train")
  options = {"images": images, "size": (16, 16), "overwrite": True}
  with pytest.raises(FileExistsError, match="not made with these scenes"):
    make(tmp_path, "train", 3, 1, **options)
  assert _images(tmp_path, "train") == before


@pytest.mark.usefixtures("rendered")
@pytest.mark.parametrize("drawn", [False, True])
def test_pictures_of_other_scenes_are_not_converted(tmp_path, drawn):
  options = {"images": True, "size": (16, 16)} if drawn else {}
  make(tmp_path / "a", "train", 3, **options)
  if not drawn:
    render_split(tmp_path / "a", "train", width=16, height=16)
  convert(tmp_path / "a", tmp_path / "fits", image_size=16)
  make(tmp_path / "b", "train", 3, 1)
  for name in "images", ".made_from":
    shutil.copytree(tmp_path / "a" / name, tmp_path / "b" / name)
  with pytest.raises(SourceError, match="pictures of other scenes than"):
    convert(tmp_path / "b", tmp_path / "no", image_size=16)
  convert(tmp_path / "b", tmp_path / "states", images="no")


@pytest.mark.usefixtures("rendered")
def test_pictures_and_annotations_of_the_same_scenes_stay(tmp_path):
  make(tmp_path, "train", 3, annotations=True)
  render_split(tmp_path, "train", width=16, height=16)
  before = _images(tmp_path, "train")
  questions = tmp_path / "questions" / "CLEVR_train_questions.json"
  questions.unlink()  # as if somebody had lost it
  make(tmp_path, "train", 3, annotations=True)
  assert questions.exists()
  job = Job(
    "train",
    3,
    max_objects=4,
    min_visible_pixels=0,
    templates=("one_hop",),
  )
  generate(tmp_path, job, workers=1, overwrite=True)
  assert _images(tmp_path, "train") == before


@pytest.mark.usefixtures("rendered")
def test_files_that_do_not_say_where_they_are_from_are_believed(tmp_path):
  make(tmp_path, "train", 3, images=True, size=(16, 16))
  for name in "scenes", "questions":
    path = tmp_path / name / f"CLEVR_train_{name}.json"
    content = json.loads(path.read_text())
    del content["info"]
    path.write_text(json.dumps(content))
  # And what only reads the folder moves no mark in it.
  mark = tmp_path / ".made_from" / "images-train.json"
  older = tmp_path / "images" / "train" / ".made_from.json"
  mark.replace(older)
  convert(tmp_path, tmp_path / "out", image_size=16)
  assert older.exists()


def test_annotations_of_other_scenes_do_not_stay(tmp_path):
  make(tmp_path, "train", 3, annotations=True)
  path = tmp_path / "annotations" / "CLEVR_train_annotations.json"
  before = path.read_bytes()
  make(tmp_path, "train", 3, overwrite=True)
  assert path.read_bytes() == before  # the scenes are those already
  make(tmp_path, "train", 3, 1, overwrite=True)
  assert not path.exists()


def test_records_without_a_vocabulary_are_refused_at_once(tmp_path):
  with pytest.raises(ValueError, match="make the train split first"):
    make(tmp_path, "val", 3, records_dir=tmp_path / "records")
  assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("rendered")
def test_pictures_of_two_looks_do_not_mix(tmp_path, monkeypatch):
  options = {"images": True, "size": (16, 16)}
  with monkeypatch.context() as patch:
    patch.setattr(pictures, "RENDERER", pictures.RENDERER - 1)
    make(tmp_path, "train", 3, **options)
  (tmp_path / "images" / "train" / "CLEVR_train_000002.png").unlink()
  before = _images(tmp_path, "train")
  with pytest.raises(FileExistsError, match="another version of the renderer"):
    make(tmp_path, "train", 3, **options)
  assert _images(tmp_path, "train") == before


@pytest.mark.usefixtures("rendered")
def test_folders_of_images_hold_images_only(tmp_path):
  options = {"images": True, "size": (16, 16)}
  make(tmp_path, "train", 3, **options)
  folder = tmp_path / "images" / "train"
  assert {path.suffix for path in folder.iterdir()} == {".png"}


def test_a_mark_of_an_earlier_version_is_moved(tmp_path, rendered):
  options = {"images": True, "size": (16, 16)}
  make(tmp_path, "train", 3, **options)
  mark = tmp_path / ".made_from" / "images-train.json"
  older = tmp_path / "images" / "train" / ".made_from.json"
  rendered.clear()
  mark.replace(older)
  make(tmp_path, "train", 3, **options)
  assert not rendered
  assert mark.exists()
  assert not older.exists()
  mark.replace(older)
  with pytest.raises(FileExistsError, match=r"images.train has pictures"):
    make(tmp_path, "train", 3, **{**options, "size": (8, 8)})
  make(tmp_path, "train", 3, **options)
  assert not rendered
  # Without any mark nobody knows what they were made from.
  for text in ("", "{", "[" * 100_000):
    mark.write_text(text)
    with pytest.raises(FileExistsError, match=r"images.train has pictures"):
      make(tmp_path, "train", 3, **options)
  mark.unlink()
  with pytest.raises(FileExistsError, match=r"images.train has pictures"):
    make(tmp_path, "train", 3, **options)


@pytest.mark.usefixtures("rendered")
@pytest.mark.parametrize("size", [(128, 128), (40, 320)])
def test_records_are_those_of_the_detour(tmp_path, size):
  direct, detour = tmp_path / "direct", tmp_path / "detour"
  for split, num_scenes in (("train", 40), ("test", 5)):
    arguments = (tmp_path / "clevr", split, num_scenes)
    make(*arguments, images=True, size=size)
    make(*arguments, records_dir=direct, size=size)
  convert(tmp_path / "clevr", detour, ["train", "test"], workers=1)
  for split in ("train", "test"):
    paths = records.shard_paths(direct, split)
    assert paths
    for path in paths:
      assert path.read_bytes() == (detour / path.name).read_bytes()
  assert (direct / records.VOCABULARY).read_bytes() == (
    detour / records.VOCABULARY
  ).read_bytes()


def test_records_are_not_drawn_twice(tmp_path, rendered):
  arguments = (tmp_path / "clevr", "train", 5)
  options = {"records_dir": tmp_path / "records", "size": (16, 16)}
  make(*arguments, **options)
  rendered.clear()
  make(*arguments, **options)
  assert not rendered
  with pytest.raises(records.RecordError, match="cannot add split"):
    make(*arguments, **{**options, "size": (8, 8)})


def test_two_conversions_do_not_meet_in_a_folder(tmp_path):
  make(tmp_path / "clevr", "train", 3)
  out = tmp_path / "out"
  with (
    exclusive(out / ".convert.lock"),
    pytest.raises(BusyError, match="another run is writing here"),
  ):
    convert(tmp_path / "clevr", out, workers=1)
  convert(tmp_path / "clevr", out, workers=1)
  assert not list(out.glob(".*"))
