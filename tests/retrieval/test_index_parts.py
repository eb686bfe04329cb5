"""Indices made of several files, and of one another."""

import dataclasses

import faiss
import numpy as np
import pytest

from rn_jax.retrieval.describe.features import Features, save_features
from rn_jax.retrieval.index import (
  add_images,
  build_index,
  merge_index,
  remove_images,
)
from rn_jax.retrieval.nearest import making
from rn_jax.retrieval.nearest.index_files import (
  ImageIndexError,
  open_index,
  write_index,
)
from rn_jax.retrieval.query import load_index

KINDS = ["Flat", "HNSW8", "IVF4,Flat", "IVF4,PQ2x4", "PCA4,IVF4,Flat"]


def make_features(count, seed, **metadata):
  x = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
  return Features(
    {"x": x},
    np.arange(count),
    np.array([f"{seed}/{i}.png" for i in range(count)]),
    {"descriptors": {"x": {"label": "X"}}, "source": {"folder": f"/{seed}"}}
    | metadata,
  )


def stored(path):
  index = open_index(path)
  return index.vectors.reconstruct_n(0, len(index))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_several_files_make_one_index(tmp_path, metric):
  parts = [make_features(count, count) for count in (40, 30, 50)]
  for i, part in enumerate(parts):
    save_features(tmp_path / f"{i}.npz", part)
  files = [tmp_path / f"{i}.npz" for i in range(3)]
  build_index(files, "x", tmp_path / "i", metric=metric)
  joined = Features(
    {"x": np.concatenate([part.descriptors["x"] for part in parts])},
    np.arange(120),
    np.concatenate([part.image_filename for part in parts]),
    parts[0].metadata,
  )
  build_index(joined, "x", tmp_path / "joined", metric=metric)
  np.testing.assert_array_equal(
    stored(tmp_path / "i"), stored(tmp_path / "joined")
  )
  index = load_index(tmp_path / "i")
  assert index.files.image_index.tolist() == list(range(120))
  assert index.search(parts[2].descriptors["x"][7:8], k=1)[0][0].path == (
    "/50/50/7.png"
  )


def test_the_same_files_again_are_left_as_they_are(tmp_path, monkeypatch):
  files = [tmp_path / "a.npz", tmp_path / "b.npz"]
  for seed, file in enumerate(files):
    save_features(file, make_features(30, seed))
  build_index(files, "x", tmp_path / "i", factory="IVF2,Flat")
  monkeypatch.setattr(making, "train", None)
  build_index(files, "x", tmp_path / "i", factory="IVF2,Flat")
  with pytest.raises(FileExistsError, match="another index"):
    build_index(files[::-1], "x", tmp_path / "i", factory="IVF2,Flat")


def test_all_files_are_trained_with_but_not_all_vectors(tmp_path, monkeypatch):
  """Else the lists would be those of the first file alone."""
  seen = []

  def keep(sample, *how):
    seen.append(sample)
    return train(sample, *how)

  train = making.train
  monkeypatch.setattr(making, "train", keep)
  monkeypatch.setattr(making, "_MOST_TO_TRAIN_WITH", 20)
  files = [tmp_path / "a.npz", tmp_path / "b.npz"]
  parts = [make_features(100, 1), make_features(30, 2)]
  for file, part in zip(files, parts, strict=True):
    save_features(file, part)
  index = build_index(files, "x", tmp_path / "i", factory="IVF2,Flat")
  expected = np.concatenate(
    [parts[0].descriptors["x"][::10], parts[1].descriptors["x"][::3]]
  )
  np.testing.assert_array_equal(seen[0], expected)
  assert len(index) == 130


@pytest.mark.parametrize("factory", KINDS)
def test_merging_gives_what_adding_gives(tmp_path, factory):
  """Parts of one trained index, as several machines fill it."""
  trained, more = make_features(200, 0), make_features(60, 1)
  for name in ("whole", "left"):
    build_index(
      trained,
      "x",
      tmp_path / name,
      factory=factory,
      search="nprobe=4" if "IVF" in factory else "",
    )
  add_images(tmp_path / "whole", more)
  # The other part, made elsewhere.
  build_index(more, "x", tmp_path / "right", trained_as=tmp_path / "left")
  before = (tmp_path / "right" / "index.npz").read_bytes()
  merge_index(tmp_path / "left", tmp_path / "right")
  assert (tmp_path / "right" / "index.npz").read_bytes() == before
  np.testing.assert_allclose(
    stored(tmp_path / "left"), stored(tmp_path / "whole"), atol=1e-5
  )
  queries = np.concatenate([trained.descriptors["x"], more.descriptors["x"]])
  left, whole = (load_index(tmp_path / name) for name in ("left", "whole"))
  found, expected = (
    [[hit.image_index for hit in hits] for hits in x.search(queries[::13], 5)]
    for x in (left, whole)
  )
  assert found == expected
  assert left.files.image_index.tolist() == list(range(260))


@pytest.mark.parametrize(
  ("factory", "search"),
  [("IVF4,PQ2x4", "nprobe=4"), ("PQ2x4", ""), ("PCA4,IVF4,SQ8", "nprobe=2")],
)
def test_training_is_taken_over(tmp_path, factory, search, monkeypatch):
  one, other = make_features(200, 0), make_features(60, 1)
  how = {"factory": factory, "search": search, "metric": "cosine"}
  build_index(one, "x", tmp_path / "one", **how)
  with monkeypatch.context() as patch:
    patch.setattr(making, "train", None)
    for _ in range(2):  # the second time it is there
      build_index(other, "x", tmp_path / "i", trained_as=tmp_path / "one")
  add_images(tmp_path / "one", other)
  np.testing.assert_array_equal(
    stored(tmp_path / "i"), stored(tmp_path / "one")[200:]
  )
  index = open_index(tmp_path / "i")
  assert (index.header["metric"], index.header["factory"]) == (
    "cosine",
    factory,
  )
  if lists := faiss.try_extract_index_ivf(index.vectors):
    assert lists.nprobe == int(search[-1])
  (tmp_path / "i" / "index.npz").rename(tmp_path / "i" / "gone")
  with pytest.raises(ValueError, match="leave them out"):
    build_index(
      other, "x", tmp_path / "i", trained_as=tmp_path / "one", factory="Flat"
    )
  strange = make_features(60, 1, network={"checkpoint_sha256": "2"})
  with pytest.raises(ImageIndexError, match="another network"):
    build_index(strange, "x", tmp_path / "i", trained_as=tmp_path / "one")


def test_codes_of_one_training_are_handed_over(tmp_path, monkeypatch):
  """Reading vectors and coding them again could put them into other lists."""
  monkeypatch.setattr(
    faiss.IndexIVFPQ, "reconstruct_n", lambda *_: pytest.fail("was read")
  )
  test_merging = make_features(200, 0)
  for name in ("a", "b"):
    build_index(test_merging, "x", tmp_path / name, factory="IVF4,PQ2x4")
  index = open_index(tmp_path / "b", mapped=False)
  renamed = np.array([f"other/{i}" for i in range(200)])
  write_index(dataclasses.replace(index, image_filename=renamed))
  assert len(merge_index(tmp_path / "a", tmp_path / "b")) == 400
  assert load_index(tmp_path / "a").files.vectors.ntotal == 400


def test_of_images_called_alike_none_is_removed(tmp_path):
  build_index(make_features(5, 0), "x", tmp_path / "i")
  other = make_features(5, 1)
  alike = np.array([f"0/{i}.png" for i in range(5)])
  add_images(tmp_path / "i", dataclasses.replace(other, image_filename=alike))
  with pytest.raises(ImageIndexError, match=r"'0/2.png'; .* index: 2, 7"):
    remove_images(tmp_path / "i", ["0/2.png"])
  assert len(remove_images(tmp_path / "i", [7])) == 9
  assert len(remove_images(tmp_path / "i", ["0/2.png"])) == 8


def test_merges_that_make_no_sense(tmp_path):
  build_index(make_features(30, 0), "x", tmp_path / "i")
  for name, features, how, message in (
    ("same", make_features(30, 0), {}, "holds 30 of these images already"),
    ("metric", make_features(9, 1), {"metric": "cosine"}, "euclidean distance"),
    (
      "net",
      make_features(9, 1, network={"checkpoint_sha256": "2"}),
      {},
      "netw",
    ),
  ):
    build_index(features, "x", tmp_path / name, **how)
    with pytest.raises(ImageIndexError, match=message):
      merge_index(tmp_path / "i", tmp_path / name)
  assert len(open_index(tmp_path / "i")) == 30
