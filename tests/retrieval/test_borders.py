"""What people pass to the functions of retrieval: right, or a clear error."""

import json

import numpy as np
import pytest
from small_scenes import generated

from rn_jax.retrieval.describe.features import (
  Features,
  FeaturesError,
  choose_descriptors,
  save_features,
)
from rn_jax.retrieval.gallery import write_gallery
from rn_jax.retrieval.ground_truth import compute
from rn_jax.retrieval.index import add_images, build_index, remove_images
from rn_jax.retrieval.nearest.search import prepare
from rn_jax.retrieval.pages.gallery_sheets import compare
from rn_jax.retrieval.query import load_index, to_json
from rn_jax.retrieval.scene_graphs.explanation import explain

NO_INDICES = ["37", "a.png", 3, 3.0, [3.0], [3.7], ["3"], [None], [True]]
NUMPY = [np.int64(3), np.int32(3), np.uint8(3)]


def make_features(count=20, name="x", **changes):
  x = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
  arrays = {
    "descriptors": {name: x},
    "image_index": np.arange(count),
    "image_filename": np.array([f"{i}.png" for i in range(count)]),
    "metadata": {"source": {"folder": "/a"}},
  }
  return Features(**arrays | changes)


@pytest.fixture
def index(tmp_path):
  build_index(make_features(), "x", tmp_path / "index")
  return load_index(tmp_path / "index")


@pytest.mark.parametrize("number", NUMPY)
def test_numbers_of_numpy_are_indices(number, index, tmp_path):
  hits = index.like([number], k=np.int64(2))
  assert hits == index.like([3], k=2) == index.like(number, k=2)
  assert json.loads(to_json([number], hits))["query"] == [3]
  features = make_features()
  assert features.rows_of([number]).tolist() == [3]
  assert features.rows_of(np.array([number])).tolist() == [3]
  scenes = generated(6)
  assert scenes.positions([number]).tolist() == [3]
  assert compute(scenes, tmp_path / "t.npz", queries=[number]).query_index == 3
  assert explain(scenes, number, 1) == explain(scenes, 3, 1)
  assert compare([features], [number], 2) == compare([features], [3], 2)
  assert len(remove_images(tmp_path / "index", [number])) == 19


@pytest.mark.parametrize("wrong", NO_INDICES)
def test_what_is_no_index_is_refused(wrong, tmp_path):
  scenes, features = generated(6), make_features()
  for call in (
    lambda: features.rows_of(wrong),
    lambda: scenes.positions(wrong),
    lambda: compute(scenes, tmp_path / "truth.npz", queries=wrong),
    lambda: compare([features], wrong, 2),
  ):
    with pytest.raises(ValueError, match="image ind"):
      call()
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [3.0, [3.0], [None], [b"a.png"], [[3]]])
def test_queries_that_are_neither_number_nor_file(wrong, index):
  wrong = wrong if isinstance(wrong, list) else [wrong]
  with pytest.raises(ValueError, match="neither an image index nor a file"):
    index.like(wrong)


def test_empty_lists(index, tmp_path):
  with pytest.raises(ValueError, match="at least one image"):
    index.like([])
  assert index.search(np.zeros((0, 4), np.float32)) == []
  assert make_features().rows_of([]).tolist() == []
  assert len(remove_images(tmp_path / "index", [])) == 20
  with pytest.raises(ValueError, match="a query"):
    compare([make_features()], [], 2)
  with pytest.raises(ValueError, match="no queries"):
    compute(generated(3), tmp_path / "truth.npz", queries=[])
  nothing = make_features(0, image_filename=np.array([], np.str_))
  with pytest.raises(FeaturesError, match="there are 0"):
    nothing.rows_of([3])
  with pytest.raises(ValueError, match="of 0 vectors"):
    build_index(nothing, "x", tmp_path / "nothing")


def test_single_texts_are_not_lists_of_letters(index, tmp_path):
  with pytest.raises(ValueError, match="imported features"):
    index.like("a.png")  # was taken for a file, and no network describes it
  index_path = tmp_path / "index"
  assert len(remove_images(index_path, "5.png")) == 19
  assert choose_descriptors([make_features()], "x") == [(0, "x")]
  path = tmp_path / "features.npz"
  save_features(path, make_features())
  with pytest.raises(FileNotFoundError):  # of a picture, not of the letter "f"
    write_gallery(str(tmp_path / "g.html"), str(path), [3], images=tmp_path)


def test_folders_are_no_images(index, tmp_path):
  with pytest.raises(IsADirectoryError, match="name image files"):
    index.like([tmp_path])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_numbers_that_are_not_finite(bad, index, tmp_path):
  vectors = np.zeros((3, 4))
  vectors[1, 2] = bad
  for metric in ("euclidean", "cosine"):
    with pytest.raises(ValueError, match="vector 1 is not finite"):
      prepare(vectors, metric)
  with pytest.raises(ValueError, match="vector 1 is not finite"):
    index.search(vectors)
  if np.isfinite(bad):
    return
  features = make_features()
  features.descriptors["x"][7, 0] = bad
  for call in (
    lambda: build_index(features, "x", tmp_path / "other"),
    lambda: add_images(tmp_path / "index", features),
    lambda: compare([features], [3], 2),
  ):
    with pytest.raises(ValueError, match=r"vector 7 is not finite|already"):
      call()
  assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
  "vectors", [np.zeros(4), np.zeros((1, 1, 4)), [["a"] * 4], [[None] * 4]]
)
def test_vectors_of_other_forms(vectors, index):
  with pytest.raises(ValueError, match=r"not numbers \[N, D\]"):
    index.search(vectors)
  assert index.search([[0, 0, 0, 1]], 1)[0][0].rank == 1


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", None, True])
def test_k_is_a_number_from_one(k, index):
  with pytest.raises(ValueError, match="k is"):
    index.search(np.zeros((1, 4)), k)


def test_excluded_rows_belong_to_vectors(index):
  with pytest.raises(ValueError, match="2 vectors and 1 lists"):
    index.search(np.zeros((2, 4)), 1, [[3]])
