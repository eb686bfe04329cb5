"""Data in object stores: the same bytes as on the disk."""

import contextlib

import numpy as np
import pytest
from object_store import ObjectStore, install

from configs import tiny
from data_prep import convert_clevr, generate, render
from data_prep.generation.job import Job
from data_prep.inspect_records import inspect_split
from rn_jax.data.dataset import load_dataset
from rn_jax.host import user_cache
from rn_jax.host.atomic import replacing
from rn_jax.retrieval import ground_truth
from rn_jax.retrieval.scene_graphs.scene_graph import load_scenes

JOB = Job("train", 4, 1, min_visible_pixels=0, questions_per_scene=3)
OPTIONS = {"images": True, "annotations": True, "size": (48, 32)}
OPTIONS |= {"record_size": 16, "workers": 1}


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  install()
  return ObjectStore.objects


def files(folder):
  return {
    f"bucket/{path.relative_to(folder).as_posix()}": path.read_bytes()
    for path in folder.rglob("*")
    if path.is_file()
  }


def flat(scenes, width, height, frame):
  shades = [20 * len(scene["objects"]) for scene in scenes]
  shape = (height, width, 3)
  return np.stack([np.full(shape, shade, np.uint8) for shade in shades])


@pytest.fixture(scope="module", autouse=True)
def drawing():
  """What draws takes long to compile, and is no matter here."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr("data_prep.rendering.drawing.render", flat)
    yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """A folder with what `generate` makes: `clevr`, and from that `records`."""
  root = tmp_path_factory.mktemp("made")
  generate.generate(
    root / "clevr", JOB, records_dir=root / "records", **OPTIONS
  )
  return root


def test_generated_data_are_the_same(made, store):
  def run():
    generate.generate(
      "gs://bucket/clevr", JOB, records_dir="gs://bucket/records", **OPTIONS
    )

  run()
  assert store == files(made)
  before = dict(store)
  run()  # all of it is reused
  assert store == before
  del store["bucket/clevr/images/train/CLEVR_train_000002.png"]
  run()
  assert store == before


def test_workers_of_beam_need_no_folder_in_common(made, store):
  pytest.importorskip("apache_beam")
  options = {
    **OPTIONS,
    "workers": None,
    "beam_options": "--runner=DirectRunner",
  }
  generate.generate(
    "gs://bucket/clevr", JOB, records_dir="gs://bucket/records", **options
  )
  assert store == files(made)


def test_conversion_goes_on_after_an_interruption(made, store, monkeypatch):
  store |= files(made)
  for key in [key for key in store if "/records/" in key]:
    del store[key]
  written = []

  def interrupted(path):
    if "00002-of-" in str(path):
      raise KeyboardInterrupt
    written.append(path)
    return replacing(path)

  def run():
    convert_clevr.convert(
      "gs://bucket/clevr",
      "gs://bucket/records",
      image_size=16,
      annotations=True,
      num_shards=4,
      workers=1,
    )

  with monkeypatch.context() as patch:
    patch.setattr("rn_jax.data.tfrecord.replacing", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
      run()
    assert len(written) == 2
  assert "bucket/records/manifest.json" not in store
  early = {key: store[key] for key in store if ".tfrecord-" in key}
  assert len(early) == 2
  with monkeypatch.context() as patch:
    patch.setattr(
      "rn_jax.data.tfrecord.replacing",
      lambda path: written.append(path) or replacing(path),
    )
    run()
  assert len(written) == 4
  convert_clevr.convert(
    made / "clevr",
    made / "again",
    image_size=16,
    annotations=True,
    num_shards=4,
    workers=1,
  )
  shards = {k: v for k, v in files(made / "again").items() if "tfrecord-" in k}
  assert len(shards) == 4
  found = {k.replace("/records", ""): store[k] for k in store}
  assert shards.items() <= found.items()
  assert not [key for key in store if "/.convert-" in key]


def test_pictures_are_drawn_from_and_to_a_store(made, store):
  store["bucket/scenes/CLEVR_train_scenes.json"] = (
    made / "clevr/scenes/CLEVR_train_scenes.json"
  ).read_bytes()
  folder = render.render_split(
    "gs://bucket", "train", width=48, height=32, annotations=True
  )
  render.render_split("gs://bucket", "train", width=48, height=32)
  assert str(folder) == "gs://bucket/images/train"
  assert store.pop("bucket/.made_from/render-train.json")
  wanted = files(made / "clevr")
  assert store == {k: wanted[k] for k in store}
  assert len(store) == 4 + 2


def test_records_are_read(made, store, caplog):
  store |= files(made)
  config = tiny.get_config().data
  config.image_size = 16
  arrays = []
  for place in (str(made / "records"), "gs://bucket/records"):
    config.dir = place
    # Decoded, and then from the cache.
    arrays += [load_dataset(config, "pixels", "train") for _ in range(2)]
  for other in arrays[1:]:
    assert other.sha256 == arrays[0].sha256
    for part in ("scenes", "questions"):
      for name, values in getattr(arrays[0], part).items():
        np.testing.assert_array_equal(values, getattr(other, part)[name])
  assert isinstance(arrays[3].scenes["image"], np.memmap | np.ndarray)
  assert len(list(user_cache.user_cache_dir().glob("arrays/*/*.arrays"))) == 1
  assert "Cannot keep" not in caplog.text  # nobody tries to map an object
  found = inspect_split("gs://bucket/records", "train", 2)
  assert found["num_scenes"] == 4
  assert "bucket/records/contact_sheet_train.png" in store


def test_distances_are_the_same(made, store, tmp_path):
  store |= files(made)
  outputs = tmp_path / "x.npz", "gs://bucket/x.npz"
  for records_dir, output in zip(
    (made / "records", "gs://bucket/records"), outputs, strict=True
  ):
    scenes = load_scenes(records_dir=records_dir, split="train")
    for _ in range(2):  # the second time it is reused
      ground_truth.compute(scenes, output, workers=1)
  assert store["bucket/x.npz"] == outputs[0].read_bytes()
  assert not [key for key in store if "parts" in key]
