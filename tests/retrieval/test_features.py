"""Features files: what goes in comes out; what is damaged is refused."""

import dataclasses
import io
import pickle
import zipfile

import numpy as np
import pytest

from rn_jax.retrieval.describe.features import (
  Features,
  FeaturesError,
  load_features,
  save_features,
)


@pytest.fixture
def features():
  rng = np.random.default_rng(0)
  return Features(
    {
      "g2_avg": rng.normal(size=(4, 3)).astype(np.float32),
      "R-MAC (RN CNN)/x": rng.normal(size=(4, 2)).astype(np.float32),
    },
    np.array([7, 3, 5, 0]),
    np.array(["b/ü.png", "a.png", "c.png", "d.png"]),
    {"descriptors": {"g2_avg": {"label": "2S-RN avg"}}, "skipped": []},
  )


def test_round_trip(features, tmp_path):
  path = tmp_path / "x"  # the name is taken as it is
  save_features(path, features)
  found = load_features(path)
  assert list(found.descriptors) == list(features.descriptors)
  for name, x in features.descriptors.items():
    np.testing.assert_array_equal(found.descriptors[name], x)
  np.testing.assert_array_equal(found.image_index, features.image_index)
  np.testing.assert_array_equal(found.image_filename, features.image_filename)
  assert found.metadata == features.metadata
  assert [found.label(name) for name in found.descriptors] == [
    "2S-RN avg",
    "R-MAC (RN CNN)/x",
  ]
  assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_finds_rows_by_image_index(features):
  np.testing.assert_array_equal(features.rows_of([5, 7]), [2, 0])
  with pytest.raises(FeaturesError, match="no image of index 4"):
    features.rows_of([4])
  with pytest.raises(FeaturesError, match="there are: g2_avg"):
    features.descriptor("g1_avg")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"descriptors": {"a": np.zeros((3, 2), np.float32)}}, r"\[3, 2\], not"),
    ({"descriptors": {"a": np.zeros((4, 2))}}, "float64"),
    ({"descriptors": {"a": np.full((4, 2), np.nan, np.float32)}}, "b/ü.png"),
    ({"descriptors": {}}, "no descriptor"),
    ({"image_index": np.array([1, 2, 2, 3])}, "twice"),
    ({"image_filename": np.array(["a"])}, "4 names"),
  ],
)
def test_refuses_what_does_not_fit(features, tmp_path, changes, message):
  with pytest.raises(FeaturesError, match=message):
    save_features(tmp_path / "x", dataclasses.replace(features, **changes))
  assert not list(tmp_path.iterdir())


def test_damaged_files_are_named(features, tmp_path):
  path = tmp_path / "x.npz"
  save_features(path, features)
  whole = path.read_bytes()
  flipped = bytearray(whole)
  with zipfile.ZipFile(path) as archive:
    at = archive.getinfo("descriptors/g2_avg.npy").header_offset + 250
  flipped[at] ^= 1
  other = io.BytesIO()
  np.savez(other, a=np.zeros(3))
  plain = io.BytesIO()
  np.save(plain, np.zeros(3))
  for content in (
    whole[: len(whole) // 2],
    bytes(flipped),
    b"",
    b"no archive at all",
    other.getvalue(),
    plain.getvalue(),
  ):
    path.write_bytes(content)
    with pytest.raises(FeaturesError, match=r"x\.npz: no features file"):
      load_features(path)


class _Evil:
  def __reduce__(self):
    return (pytest.fail, ("a pickle was run",))


def test_never_unpickles(tmp_path):
  path = tmp_path / "x.npz"
  path.write_bytes(pickle.dumps(_Evil()))
  with pytest.raises(FeaturesError):
    load_features(path)
  content = io.BytesIO()
  np.save(content, np.array([_Evil()], object), allow_pickle=True)
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("metadata.npy", content.getvalue())
  with pytest.raises(FeaturesError):
    load_features(path)
