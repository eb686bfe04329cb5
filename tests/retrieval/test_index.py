"""Indices: exact against brute force, changed, refused, asked by files."""

import csv
import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from small_network import write_network

from rn_jax.retrieval.describe.features import Features, load_features
from rn_jax.retrieval.extract import extract_command
from rn_jax.retrieval.index import add_images, build_index, remove_images
from rn_jax.retrieval.nearest import index_files, search
from rn_jax.retrieval.nearest.index_files import ImageIndexError, open_index
from rn_jax.retrieval.nearest.search import METRICS, Database, prepare
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


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("block_rows", [1, 7, 64, 1000])
def test_blocks_find_what_brute_force_finds(metric, block_rows):
  vectors = make_features(300, 8).descriptors["x"]
  vectors[17] = vectors[3]  # a tie, far apart
  vectors[250] = vectors[3]
  vectors[9] = 0
  queries = np.concatenate([vectors[[3, 40]], vectors[:2] + 0.02])
  excluded = np.array([[3, -1], [40, 41], [-1, -1], [5, 299]])
  k = 20
  ready = prepare(vectors, metric)
  database = Database(ready, metric, block_bytes=block_rows * 4 * 8)
  rows, distances = database.nearest(prepare(queries, metric), k, excluded)
  for i, query in enumerate(queries):
    expected, exact = brute_force(vectors, query, k, metric, excluded[i])
    tolerance = 1e-6 if metric == "euclidean" else 1e-3
    np.testing.assert_allclose(distances[i], exact, rtol=tolerance, atol=1e-10)
    assert rows[i].tolist() == expected
  # The copies of the query, itself excluded, in the order of their rows.
  assert rows[0][:2].tolist() == [17, 250]


def test_never_has_more_than_a_block_of_a_large_database(monkeypatch):
  vectors = make_features(300, 8).descriptors["x"]
  read = []

  class Mapped:
    shape = vectors.shape

    def __getitem__(self, rows):
      read.append(len(vectors[rows]))
      return vectors[rows]

  monkeypatch.setattr(search, "_KEPT_BYTES", 1000)
  monkeypatch.setattr(search, "_BLOCK_BYTES", 64 * 4 * 8)
  database = Database(Mapped(), "euclidean", vectors.mean(0))
  rows, _ = database.nearest(vectors[:1], 5)
  assert rows[0].tolist() == brute_force(vectors, vectors[0], 5, "euclidean")[0]
  assert read == [64] * 4 + [300 - 4 * 64, 5 + 32]  # and the candidates


def test_finds_fewer_where_there_are_fewer():
  x = np.eye(3, dtype=np.float32)
  rows, distances = Database(x, "euclidean").nearest(
    x[:1], 5, excluded=np.array([[0]])
  )
  assert rows.tolist() == [[1, 2, -1, -1, -1]]
  np.testing.assert_allclose(distances[0, :2], 2**0.5)
  assert np.isinf(distances[0, 2:]).all()


@pytest.fixture(params=["exact", "usearch"])
def backend(request):
  if request.param == "usearch":
    pytest.importorskip("usearch.index", reason="usearch is not installed")
  return request.param


@pytest.mark.parametrize("metric", METRICS)
def test_index_finds_as_brute_force_does(tmp_path, backend, metric):
  features = make_features()
  x = features.descriptors["x"]
  build_index(features, "x", tmp_path / "i", metric=metric, backend=backend)
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
  if backend == "exact":
    assert len(index.like([4], k=100)) == len(x) - 1  # all but itself


def test_adds_and_removes(tmp_path, backend):
  first, second = make_features(30), make_features(20, seed=1, folder="/b")
  path = tmp_path / "i"
  build_index(first, "x", path, backend=backend)
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
  names = sorted(p.name for p in path.iterdir() if p.suffix == ".npy")
  assert names == [
    "image_filename-3.npy",
    "image_index-3.npy",
    "source-3.npy",
    "vectors-3.npy",
  ]
  with pytest.raises(ImageIndexError, match="holds 29 of these"):
    add_images(path, first)
  with pytest.raises(ImageIndexError, match="no image 'z'"):
    remove_images(path, ["z"])
  with pytest.raises(ImageIndexError, match="no image would be left"):
    remove_images(path, left)


def test_interrupted_changes_change_nothing(tmp_path, monkeypatch):
  path = tmp_path / "i"
  build_index(make_features(30), "x", path)
  before = load_index(path).like([2])

  def fail(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(index_files, "write_json", fail)
  with pytest.raises(KeyboardInterrupt):
    add_images(path, make_features(20, seed=1))
  assert load_index(path).like([2]) == before


def test_refuses_what_does_not_belong(tmp_path):
  features = make_features()
  path = tmp_path / "i"
  build_index(features, "x", path)
  with pytest.raises(FileExistsError, match="holds an index already"):
    build_index(features, "x", path)
  build_index(features, "x", path, overwrite=True)
  index = load_index(path)
  with pytest.raises(ImageIndexError, match="6 numbers, not of 5"):
    index.search(np.zeros((1, 5)))
  with pytest.raises(ImageIndexError, match=r"no image 99 .* from 0 to 49"):
    index.like([99])
  for key, value, message in (
    ("network", {"checkpoint_sha256": "2" * 64}, "another network"),
    ("descriptors", {"x": {"label": "Y"}}, "descriptor 'x' .X., not 'x' .Y."),
    ("preprocessing", {"size": 9}, "prepared in another way"),
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


def test_damaged_indices_are_named(tmp_path):
  path = tmp_path / "i"
  with pytest.raises(ImageIndexError, match="no index here"):
    open_index(path)
  build_index(make_features(), "x", path)
  whole = (path / "index.json").read_text()
  for text, message in (
    (whole[:90], "unreadable"),
    (whole.replace('"format_version": 1', '"format_version": 9'), "version 9"),
    (whole.replace('"num_images": 50', '"num_images": 51'), "not belong"),
    ("[]", "unreadable"),
  ):
    (path / "index.json").write_text(text)
    with pytest.raises(ImageIndexError, match=message):
      open_index(path)
  (path / "index.json").write_text(whole)
  vectors = path / "vectors-1.npy"
  vectors.write_bytes(vectors.read_bytes()[:-8])
  with pytest.raises(ImageIndexError, match="damaged"):
    open_index(path)
  np.save(vectors, np.array([object()]), allow_pickle=True)
  with pytest.raises(ImageIndexError, match="damaged"):
    open_index(path)
  vectors.write_bytes(b"not an array")
  with pytest.raises(ImageIndexError, match="damaged") as error:
    open_index(path)
  assert "pickle" not in str(error.value)  # as numpy advises


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
  with pytest.raises(ImageIndexError, match="another network"):
    load_index(tmp_path / "i", paths[1]).like([copy])
