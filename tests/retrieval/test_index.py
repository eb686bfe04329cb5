"""Indices: exact against brute force, changed, refused, asked by files."""

import csv
import dataclasses
import hashlib
import io
import json
import os
import pickle
import resource
import shutil
import subprocess
import sys

import faiss
import numpy as np
import pytest
from PIL import Image
from places import ROOT
from small_network import write_network

from rn_jax.host import atomic
from rn_jax.host.exclusive import BusyError, exclusive
from rn_jax.retrieval.describe.archive import read_archive, write_archive
from rn_jax.retrieval.describe.features import METRICS, Features, load_features
from rn_jax.retrieval.extract import extract_command
from rn_jax.retrieval.index import add_images, build_index, remove_images
from rn_jax.retrieval.nearest import index_files
from rn_jax.retrieval.nearest.index_files import (
  LOCK,
  ImageIndexError,
  open_index,
)
from rn_jax.retrieval.nearest.search import make_index, nearest, prepare
from rn_jax.retrieval.query import load_index, to_csv, to_json


def brute_force(vectors, query, k, metric, excluded=()):
  """Rows and distances by the definition, in float64."""
  x, q = vectors.astype(np.float64), query.astype(np.float64)
  if metric == "cosine":
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(q)
    distance = 1 - x @ q / np.maximum(norms, 1e-300)
  else:
    distance = np.sqrt(((x - q) ** 2).sum(1))
  order = [i for i in np.argsort(distance, kind="stable") if i not in excluded]
  return order[:k], distance[order[:k]]


def make_features(count=50, dimension=6, seed=0, folder="/a", first=0):
  rng = np.random.default_rng(seed)
  # Near each other and far from the origin, as descriptors are.
  x = 5 + 0.01 * rng.normal(size=(count, dimension))
  about = {"label": "X", "metric": "euclidean"}
  return Features(
    {"x": x.astype(np.float32)},
    first + np.arange(count),
    np.array([f"{seed}/{i}.png" for i in range(count)]),
    {
      "descriptors": {"x": about},
      "network": {"checkpoint": "c", "checkpoint_sha256": "1" * 64},
      "preprocessing": {"size": 8},
      "source": {"folder": folder},
    },
  )


def assert_nearest(vectors, queries, k, metric, excluded):
  """`nearest` finds, with an exact index, what brute force finds."""
  ready, asked = prepare(vectors, metric), prepare(queries, metric)
  found = nearest(make_index(ready), metric, asked, k, excluded)
  for query, without, rows, distances in zip(
    asked, excluded, *found, strict=True
  ):
    expected, exact = brute_force(ready, query, k, metric, without)
    count = len(expected)
    tolerance = 1e-6 if metric == "euclidean" else 1e-3
    np.testing.assert_allclose(distances[:count], exact, tolerance, 1e-10)
    assert rows[:count].tolist() == expected
    assert (rows[count:] == -1).all()
    assert np.isinf(distances[count:]).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 20, 299, 400])
def test_exact_index_finds_what_brute_force_finds(metric, k):
  vectors = make_features(300, 8).descriptors["x"]
  vectors[17] = vectors[3]  # a tie, far apart
  vectors[250] = vectors[3]
  vectors[9] = 0
  queries = np.concatenate([vectors[[3, 40]], vectors[:2] + 0.02])
  excluded = [[3], [40, 41], [], [5, 299, 7]]
  assert_nearest(vectors, queries, k, metric, excluded)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_and_empty_vectors_come_in_their_order(metric):
  """Even if they are many more than the candidates asked for at first."""
  vectors = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
  vectors[np.random.default_rng(1).permutation(500)[:200]] = vectors[77]
  vectors[300:450] = 0  # by the cosine, farther than by the distance
  queries = np.stack([vectors[77], vectors[301], -vectors[77], vectors[2]])
  for k in (3, 150):
    assert_nearest(vectors, queries, k, metric, [[77], [], [1], []])


def test_many_queries_of_nearly_equal_vectors():
  """Products in place of differences would lose what differs."""
  vectors = 100 * make_features(600, 8).descriptors["x"]
  vectors += 400
  assert_nearest(vectors, vectors, 3, "euclidean", [[i] for i in range(600)])


@pytest.mark.parametrize(
  ("factory", "search", "message"),
  [
    ("banana", "", "no index 'banana' .* could not parse"),
    ("IVF99,Flat", "", "points .50. should be at least as large as .* .99."),
    ("PQ4x4", "", "should be a multiple"),
    ("IVF0,Flat", "", "nprobe > 0"),
    ("Flat", "nprobe=2", "could not set parameter nprobe"),
    ("PCA4,IVF2,PQ2x4fs", "", "cannot be read again; leave out 'fs' or add"),
    ("IDMap,Flat", "", "no index of this kind .* use add_with_ids"),
  ],
)
def test_factories_that_make_no_sense(tmp_path, factory, search, message):
  with pytest.raises(ValueError, match=message) as error:
    build_index(
      make_features(), "x", tmp_path / "i", factory=factory, search=search
    )
  assert "Error in" not in str(error.value)
  assert not (tmp_path / "i").exists()


# One that is exact, one with training, one that FAISS cannot remove from; of so
# few images they find all.
FACTORIES = [("Flat", ""), ("IVF2,Flat", "nprobe=2"), ("HNSW32", "")]


@pytest.mark.parametrize(("factory", "search"), FACTORIES)
@pytest.mark.parametrize("metric", METRICS)
def test_index_finds_as_brute_force_does(tmp_path, factory, search, metric):
  features = make_features()
  x = features.descriptors["x"]
  how = {"metric": metric, "factory": factory, "search": search}
  build_index(features, "x", tmp_path / "i", **how)
  index = load_index(tmp_path / "i")
  for row in (0, 31):
    hits = index.like([row], k=7)
    expected, distance = brute_force(x, x[row], 7, metric, [row])
    found = [hit.distance for hit in hits]
    np.testing.assert_allclose(found, distance, rtol=1e-3)
    assert [hit.image_index for hit in hits] == expected
  several = index.like([4, 8, 15], k=5)
  mean = prepare(x, metric)[[4, 8, 15]].mean(0)
  expected, _ = brute_force(x, mean, 5, metric, [4, 8, 15])
  assert [hit.image_index for hit in several] == expected
  assert [hit.rank for hit in several] == [1, 2, 3, 4, 5]
  assert several[0].path == f"/a/0/{expected[0]}.png"
  assert len(index.like([4], k=100)) == len(x) - 1  # all but itself


@pytest.mark.parametrize(("factory", "search"), FACTORIES)
def test_adds_and_removes(tmp_path, factory, search):
  first, second = make_features(30), make_features(20, seed=1, folder="/b")
  path = tmp_path / "i"
  build_index(first, "x", path, factory=factory, search=search)
  add_images(path, second)
  index = load_index(path)
  # Its indices 0 to 19 were taken.
  assert index.files.image_index.tolist() == list(range(50))
  together = np.concatenate([first.descriptors["x"], second.descriptors["x"]])
  hits = index.like([35], k=8)
  expected, _ = brute_force(together, together[35], 8, "euclidean", [35])
  assert [hit.image_index for hit in hits] == expected
  assert {hit.path[:2] for hit in index.like([35], k=49)} == {"/a", "/b"}
  remove_images(path, ["0/3.png", 35])
  index = load_index(path)
  left = [i for i in range(50) if i not in (3, 35)]
  assert index.files.image_index.tolist() == left
  hits = index.search(together[35:36], k=8)[0]
  expected, _ = brute_force(together[left], together[35], 8, "euclidean")
  assert [hit.image_index for hit in hits] == [left[i] for i in expected]
  assert sorted(file.suffix for file in path.iterdir()) == [".faiss", ".npz"]
  with pytest.raises(ImageIndexError, match="holds 29 of these"):
    add_images(path, first)
  with pytest.raises(ImageIndexError, match="no image 'z'"):
    remove_images(path, ["z"])
  with pytest.raises(ImageIndexError, match="no image would be left"):
    remove_images(path, left)


@pytest.mark.parametrize("what", ["faiss.write_index", "write_archive"])
def test_interrupted_changes_change_nothing(tmp_path, monkeypatch, what):
  path = tmp_path / "i"
  build_index(make_features(30), "x", path)
  before = load_index(path).like([2])

  def fail(*_):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(f"rn_jax.retrieval.nearest.index_files.{what}", fail)
    for change in (
      lambda: add_images(path, make_features(20, seed=1)),
      lambda: remove_images(path, [3]),
      lambda: build_index(make_features(9), "x", path, overwrite=True),
    ):
      with pytest.raises(KeyboardInterrupt):
        change()
      assert load_index(path).like([2]) == before
  remove_images(path, [3])  # and takes away what the others left
  assert len(list(path.iterdir())) == 2


def test_files_of_others_in_the_folder_stay(tmp_path):
  path = tmp_path / "i"
  path.mkdir()
  names = ["vectors.faiss", "vectors_of_mine.faiss", "graph-1.usearch"]
  names += ["image_x-val.npy", ".features.npz.0123-1.tmp"]
  for name in names:
    (path / name).touch()
  build_index(make_features(9), "x", path)
  remove_images(path, [3])
  assert {p.name for p in path.iterdir()} >= {*names}
  assert len(list(path.iterdir())) == len(names) + 2


def test_a_full_disk_changes_nothing(tmp_path, capfd):
  path = tmp_path / "i"
  build_index(make_features(30), "x", path)
  before = load_index(path).like([2])
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  # Less than FAISS's buffer, which would not notice.
  resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # bytes of a file
  try:
    with pytest.raises(OSError, match="too large") as full:
      add_images(path, make_features(20, seed=1))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert full.value.filename.startswith(str(path))
  assert load_index(path).like([2]) == before
  assert not capfd.readouterr().err


def test_two_changes_do_not_meet(tmp_path):
  folder = tmp_path / "index"
  with exclusive(folder / LOCK), pytest.raises(BusyError, match="index: "):
    build_index(make_features(), "x", folder)
  build_index(make_features(), "x", folder)
  more = make_features(seed=1)
  for change in (
    lambda: build_index(more, "x", folder, overwrite=True),
    lambda: add_images(folder, more),
    lambda: remove_images(folder, [3]),
  ):
    with exclusive(folder / LOCK), pytest.raises(BusyError, match="index: "):
      change()
    assert len(open_index(folder)) == 50
    assert not (folder / LOCK).exists()


def test_the_same_call_again_makes_only_what_is_missing(
  tmp_path, monkeypatch, caplog
):
  path = tmp_path / "i"
  how = {"factory": "IVF2,Flat", "search": "nprobe=2"}
  build_index(make_features(), "x", path, **how)
  whole = {file: file.read_bytes() for file in path.iterdir()}
  # Killed before the file that says whose the vectors are, or while writing.
  nobody = f"{atomic._HOST}-{2**22 + 1}"  # more than there can be processes
  (path / "index.npz").rename(path / f".index.npz.{nobody}.tmp")
  (path / f"vectors-{'0' * 16}.faiss").write_bytes(b"half")
  build_index(make_features(), "x", path, **how)
  assert whole == {file: file.read_bytes() for file in path.iterdir()}
  assert "whole" not in caplog.text
  # Killed after it.
  with monkeypatch.context() as patch:
    patch.setattr("rn_jax.retrieval.nearest.making.train", None)
    index = build_index(make_features(), "x", path, **how)
  assert len(index) == 50
  assert "i is whole and made of the same" in caplog.text
  assert whole == {file: file.read_bytes() for file in path.iterdir()}
  renamed = make_features()
  renamed.image_filename[3] = "other.png"
  for other, changes in (
    (make_features(seed=1), {}),
    (renamed, {}),
    (make_features(), {"metric": "cosine"}),
    (make_features(), {"factory": "Flat", "search": ""}),
    (make_features(), {"search": "nprobe=1"}),
  ):
    with pytest.raises(FileExistsError, match="holds another index already"):
      build_index(other, "x", path, **how | changes)
  (vectors,) = path.glob("*.faiss")
  vectors.write_bytes(b"damaged")
  with pytest.raises(ImageIndexError, match="--overwrite"):
    build_index(make_features(), "x", path, **how)
  build_index(make_features(), "x", path, **how, overwrite=True)
  # What was put in again may have lost something.
  remove_images(path, [49])
  last = dataclasses.replace(
    make_features(1, first=49), image_filename=np.array(["0/49.png"])
  )
  add_images(path, last)
  with pytest.raises(FileExistsError, match="holds another index already"):
    build_index(make_features(), "x", path, **how)


def test_vectors_stay_on_disk(tmp_path):
  build_index(make_features(), "x", tmp_path / "i")
  assert not open_index(tmp_path / "i").vectors.codes.is_owned
  assert open_index(tmp_path / "i", mapped=False).vectors.codes.is_owned


@pytest.mark.parametrize(
  "factory", ["IVF2,Flat", "PCA4,IVF2_HNSW8,PQ2x4", "IVF2,PQ2x4,RFlat"]
)
def test_lists_stay_on_disk(tmp_path, factory):
  features = make_features()
  build_index(features, "x", tmp_path / "i", factory=factory)
  indices = [
    open_index(tmp_path / "i", mapped=mapped).vectors
    for mapped in (True, False)
  ]
  lists = [
    type(faiss.downcast_InvertedLists(faiss.extract_index_ivf(i).invlists))
    for i in indices
  ]
  assert lists == [faiss.OnDiskInvertedLists, faiss.ArrayInvertedLists]
  on_disk, in_memory = (
    i.search(features.descriptors["x"], 9)[1] for i in indices
  )
  np.testing.assert_array_equal(on_disk, in_memory)


def test_refuses_what_does_not_belong(tmp_path):
  features = make_features()
  path = tmp_path / "i"
  build_index(features, "x", path)
  index = load_index(path)
  with pytest.raises(ImageIndexError, match="6 numbers, not of 5"):
    index.search(np.zeros((1, 5)))
  with pytest.raises(ImageIndexError, match=r"no image 99 .* from 0 to 49"):
    index.like([99])
  for key, value, message in (
    ("network", {"checkpoint_sha256": "2" * 64}, "another network"),
    ("descriptors", {"x": {"label": "Y"}}, "descriptor 'x' .X., not 'x' .Y."),
    ("preprocessing", {"size": 9}, "prepared in another way"),
    (
      "network",
      features.metadata["network"] | {"overrides": {"model.dtype": "bfloat16"}},
      "other settings of the network: its own, not .'model.dtype'",
    ),
  ):
    other = make_features(20, seed=1)
    other.metadata[key] = value
    with pytest.raises(ImageIndexError, match=message):
      add_images(path, other)
  longer = make_features(20, dimension=7, seed=1)
  with pytest.raises(ImageIndexError, match="6 numbers, not of 7"):
    add_images(path, longer)
  imported = dataclasses.replace(features, metadata={})
  build_index(imported, "x", tmp_path / "imported")
  with pytest.raises(ImageIndexError, match="imported features"):
    load_index(tmp_path / "imported").like(["a.png"])


def test_damaged_indices_are_named(tmp_path, monkeypatch):
  path, other = tmp_path / "i", tmp_path / "other"
  with pytest.raises(ImageIndexError, match="no index here"):
    open_index(path)
  build_index(make_features(), "x", path)
  build_index(make_features(seed=1), "x", other)
  (vectors,), sidecar = path.glob("*.faiss"), path / "index.npz"
  whole = {file: file.read_bytes() for file in (vectors, sidecar)}

  def flipped(content):
    return content[:200] + bytes([content[200] ^ 1]) + content[201:]

  (strange,) = other.glob("*.faiss")
  read = faiss.read_index
  for file, content, message in (
    (vectors, whole[vectors][:-8], "is damaged, or of another index"),
    (vectors, flipped(whole[vectors]), "is damaged, or of another index"),
    (vectors, strange.read_bytes(), "is damaged, or of another index"),
    (sidecar, (other / "index.npz").read_bytes(), "No such file"),
    (sidecar, whole[sidecar][:-8], "it is no .npz"),
    (sidecar, flipped(whole[sidecar]), "CRC"),
    (sidecar, pickle.dumps([]), "it is no .npz"),
  ):
    file.write_bytes(content)
    # Never does FAISS see what is not as it was written.
    monkeypatch.setattr(faiss, "read_index", None)
    with pytest.raises(ImageIndexError, match=message) as error:
      open_index(path)
    assert "rn_jax.retrieval.index --features=" in str(error.value)
    assert f"--output={path} --overwrite" in str(error.value)
    file.write_bytes(whole[file])
    monkeypatch.setattr(faiss, "read_index", read)
    open_index(path)
  build_index(make_features(), "x", other, overwrite=True)
  assert load_index(other).like([3]) == load_index(path).like([3])


def test_sidecars_that_others_made(tmp_path):
  path = tmp_path / "i"
  build_index(make_features(), "x", path)
  (vectors,), sidecar = path.glob("*.faiss"), path / "index.npz"
  arrays, header = read_archive(sidecar)
  whole = vectors.read_bytes()
  longer = arrays | {"source": np.zeros(51, np.int64)}
  text = b"not an index"
  for changes, changed, content, message in (
    ({"format_version": 9}, arrays, whole, "version 9, this program reads 2"),
    ({}, longer, whole, "do not fit together"),
    ({}, arrays | {"more": arrays["source"]}, whole, "unexpected"),
    ({"sha256": 3}, arrays, whole, "unreadable"),
    ({"sha256": "../../x"}, arrays, whole, "No such file"),
    ({"sha256": hashlib.sha256(text).hexdigest()}, arrays, text, "recognized"),
  ):
    new = header | changes
    write_archive(sidecar, new, changed)
    name = str(new["sha256"])[:16].replace("/", "_")
    (path / f"vectors-{name}.faiss").write_bytes(content)
    with pytest.raises(ImageIndexError, match=message):
      open_index(path)


def test_results_as_json_and_csv(tmp_path):
  build_index(make_features(), "x", tmp_path / "i")
  hits = load_index(tmp_path / "i").like([3], k=2)
  content = json.loads(to_json([3], hits))
  assert content["query"] == [3]
  assert content["hits"] == [dataclasses.asdict(hit) for hit in hits]
  rows = list(csv.DictReader(io.StringIO(to_csv(hits))))
  assert [int(row["rank"]) for row in rows] == [1, 2]
  assert float(rows[1]["distance"]) == hits[1].distance
  assert rows[0]["path"] == hits[0].path


def test_asks_with_the_settings_it_was_made_with(
  make_config, clevr_dir, tmp_path
):
  write_network(tmp_path / "network", make_config("ir_sd"))
  settings = {"model.mask_objects": False, "eval.batch_size": 3}
  features = load_features(
    extract_command(tmp_path / "network", tmp_path, overrides=settings)
  )
  assert features.metadata["network"]["overrides"] == {
    "model.mask_objects": False
  }
  build_index(features, "g2_avg", tmp_path / "i")
  scenes = json.loads((clevr_dir / "scenes/CLEVR_val_scenes.json").read_text())
  hit = load_index(tmp_path / "i").like([scenes["scenes"][2]], k=1)[0]
  assert hit.image_filename == scenes["scenes"][2]["image_filename"]
  assert hit.distance < 1e-5


def test_a_picture_is_itself_through_whatever_link(
  make_config, clevr_dir, tmp_path
):
  write_network(tmp_path / "network", make_config("ir_fp"))
  real, link = tmp_path / "real", tmp_path / "link"
  shutil.copytree(clevr_dir / "images" / "val", real)
  link.symlink_to(real)
  build_index(
    load_features(
      extract_command(tmp_path / "network", tmp_path, images=[str(link)])
    ),
    "g2_avg",
    tmp_path / "i",
  )
  index = load_index(tmp_path / "i")
  for folder in real, link:
    file = sorted(folder.iterdir())[1]
    names = [hit.image_filename for hit in index.like([file])]
    assert len(names) == len(index.files) - 1
    assert file.name not in names


def test_opens_what_is_changed_meanwhile(tmp_path, monkeypatch):
  build_index(make_features(10), "x", tmp_path / "i")
  whole = index_files._sha256

  def change_once(path):
    monkeypatch.setattr(index_files, "_sha256", whole)
    digest = whole(path)
    add_images(tmp_path / "i", make_features(5, seed=1, folder="/b", first=10))
    return digest

  monkeypatch.setattr(index_files, "_sha256", change_once)
  assert len(open_index(tmp_path / "i")) == 15


def test_asks_by_image_files(make_config, clevr_dir, tmp_path):
  """From images to hits: the same vectors, itself not found, no other net."""
  paths = [tmp_path / "network", tmp_path / "other"]
  for seed, path in enumerate(paths):
    write_network(path, make_config("ir_fp"), seed)
  images = tmp_path / "images"
  shutil.copytree(clevr_dir / "images" / "val", images)
  features = load_features(
    extract_command(paths[0], tmp_path, images=[str(images)])
  )
  build_index(features, "g2_avg", tmp_path / "i")
  index = load_index(tmp_path / "i")
  files = sorted(images.iterdir())
  by_index = index.like([2], k=3)
  by_file = index.like([files[2]], k=3)
  assert [hit.image_index for hit in by_file] == [
    hit.image_index for hit in by_index
  ]
  assert 2 not in [hit.image_index for hit in by_file]
  np.testing.assert_allclose(
    [hit.distance for hit in by_file],
    [hit.distance for hit in by_index],
    rtol=1e-3,
  )
  both = index.like([0, files[2]], k=9)
  assert sorted(hit.image_index for hit in both) == [1, 3, 4]
  # A copy elsewhere is another image, and the nearest one.
  copy = shutil.copy(files[2], tmp_path / "copy.png")
  nearest_hit = index.like([copy], k=1)[0]
  assert nearest_hit.image_index == 2
  assert nearest_hit.distance < 1e-5
  # So is a picture that is no file.
  with Image.open(copy) as picture:
    assert index.like(picture, k=1)[0].image_index == 2
  assert index.inputs == "pixels"
  with pytest.raises(ValueError, match="reads pixels"):
    index.like({"objects": []})
  with pytest.raises(ImageIndexError, match="another network"):
    load_index(tmp_path / "i", paths[1]).like([copy])


_SCRIPT = """
import multiprocessing
import sys
import numpy as np

def find(_=None):
  from rn_jax.retrieval.nearest.search import make_index, nearest
  x = np.random.default_rng(0).normal(size=(4000, 32)).astype(np.float32)
  rows, _ = nearest(make_index(x), "euclidean", x[:64], 3)
  return rows[:, 0].tolist() == list(range(64))

if __name__ == "__main__":
  import jax.numpy as jnp
  import launch, rn_jax.train, rn_jax.retrieval.extract
  assert "faiss" not in sys.modules
  a = jnp.ones((300, 300))
  for _ in range(2):
    (a @ a).block_until_ready()
    assert find()
  with multiprocessing.get_context("spawn").Pool(2) as pool:
    assert all(pool.map(find, range(4)))
"""


def test_faiss_beside_training_and_processes(tmp_path):
  """Training does not load it; nobody's threads wait for another's."""
  (tmp_path / "find.py").write_text(_SCRIPT)
  subprocess.run(
    [sys.executable, tmp_path / "find.py"],
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    check=True,
    timeout=120,
  )
