"""An index in Milvus finds what it finds here."""

import sys

import numpy as np
import pytest

from rn_jax.retrieval.describe.features import METRICS, Features
from rn_jax.retrieval.export_milvus import export_milvus
from rn_jax.retrieval.index import build_index
from rn_jax.retrieval.query import load_index


def make_index(path, metric="euclidean", count=30):
  x = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
  names = np.array([f"ä/{i}.png" for i in range(count)])
  about = {"descriptors": {"x": {}}, "source": {"folder": "/a"}}
  build_index(
    Features({"x": x}, 5 + np.arange(count), names, about),
    "x",
    path,
    metric=metric,
  )
  return load_index(path)


@pytest.fixture
def milvus():
  pytest.importorskip("milvus_lite")
  return pytest.importorskip("pymilvus")


@pytest.mark.parametrize("metric", METRICS)
def test_milvus_finds_the_same(milvus, tmp_path, metric, monkeypatch):
  index = make_index(tmp_path / "i", metric)
  uri = str(tmp_path / "m.db")
  monkeypatch.setattr("rn_jax.retrieval.export_milvus._AT_A_TIME", 7)
  assert export_milvus(tmp_path / "i", uri, "scenes") == 30
  with pytest.raises(ValueError, match="a collection scenes already"):
    export_milvus(tmp_path / "i", uri, "scenes")
  export_milvus(tmp_path / "i", uri, "scenes", overwrite=True)
  client = milvus.MilvusClient(uri)
  assert client.list_collections() == ["scenes"]
  client.load_collection("scenes")
  queries = index.files.vectors.reconstruct_n(0, 3) + np.float32(0.1)
  found = client.search(
    "scenes",
    queries.tolist(),
    limit=9,
    output_fields=["image_filename", "path"],
  )
  client.close()
  for theirs, ours in zip(found, index.search(queries, 9), strict=True):
    assert [hit["image_index"] for hit in theirs] == [
      hit.image_index for hit in ours
    ]
    assert theirs[0]["entity"]["path"] == ours[0].path
    assert theirs[0]["entity"]["image_filename"] == ours[0].image_filename
    distance = [
      hit["distance"] ** 0.5 if metric == "euclidean" else 1 - hit["distance"]
      for hit in theirs
    ]
    np.testing.assert_allclose(
      distance, [hit.distance for hit in ours], rtol=1e-4, atol=1e-6
    )


def test_an_interrupted_export_leaves_no_collection(
  milvus, tmp_path, monkeypatch
):
  make_index(tmp_path / "i")
  uri = str(tmp_path / "m.db")
  with monkeypatch.context() as patch:
    patch.setattr(
      milvus.MilvusClient, "flush", lambda *_: pytest.fail("interrupted")
    )
    with pytest.raises(pytest.fail.Exception):
      export_milvus(tmp_path / "i", uri, "scenes")
  client = milvus.MilvusClient(uri)
  assert not client.has_collection("scenes")
  client.close()
  assert export_milvus(tmp_path / "i", uri, "scenes") == 30


def test_what_milvus_refuses_is_an_error(milvus, tmp_path, monkeypatch):
  make_index(tmp_path / "i")

  def refuse(*_, **__):
    raise milvus.MilvusException(message="no room")

  monkeypatch.setattr(milvus.MilvusClient, "insert", refuse)
  with pytest.raises(ValueError, match=r"m\.db: no room"):
    export_milvus(tmp_path / "i", str(tmp_path / "m.db"), "scenes")
  with pytest.raises(ValueError, match=r"m\.sqlite is neither"):
    export_milvus(tmp_path / "i", str(tmp_path / "m.sqlite"), "scenes")


def test_without_pymilvus_the_remedy_is_named(tmp_path, monkeypatch):
  make_index(tmp_path / "i")
  monkeypatch.setitem(sys.modules, "pymilvus", None)
  with pytest.raises(ValueError, match="pip install -e"):
    export_milvus(tmp_path / "i", str(tmp_path / "m.db"), "scenes")
