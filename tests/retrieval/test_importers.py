"""Others' features: read as they were written, and never run."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from rn_jax.host.exclusive import BusyError, writing
from rn_jax.interop.tensor_pickle import TorchFileError
from rn_jax.retrieval import importers
from rn_jax.retrieval.describe.features import load_features
from rn_jax.retrieval.importers import import_features

VECTORS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
BATCHES = [(0, VECTORS[:2]), (1, VECTORS[2:4]), (2, VECTORS[4:])]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_numpy_of_all_protocols(tmp_path, protocol):
  path = tmp_path / "x.pickle"
  for content in (
    BATCHES,
    [[np.int64(i), np.asfortranarray(x)] for i, x in BATCHES],
    [(i, x.astype(">f8")) for i, x in BATCHES],
  ):
    path.write_bytes(pickle.dumps(content, protocol))
    features = import_features(path, "avf", label="AVF-RN")
    np.testing.assert_array_equal(features.descriptors["avf"], VECTORS)
  assert features.image_index.tolist() == [0, 1, 2, 3, 4]
  assert features.image_filename[3] == "CLEVR_val_000003.png"
  assert features.label("avf") == "AVF-RN"
  assert features.about("avf")["metric"] == "euclidean"


def test_reads_numpy_1_and_python_2(tmp_path):
  path = tmp_path / "x.pickle"
  content = pickle.dumps(BATCHES, 2)
  old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
  assert old != content
  path.write_bytes(old)
  found = import_features(path, "a").descriptors["a"]
  np.testing.assert_array_equal(found, VECTORS)
  # Python 2 wrote the numbers as a string.
  x = np.array([[1.5, -2.0]], "<f4")
  dtype = (
    b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
    b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
  )
  path.write_bytes(
    b"\x80\x02]K\x00cnumpy.core.multiarray\n_reconstruct\n"
    b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    + (b"(K\x01K\x01K\x02\x86" + dtype + b"\x89U\x08" + x.tobytes() + b"tb")
    + b"\x86a."
  )
  found = import_features(path, "a").descriptors["a"]
  np.testing.assert_array_equal(found, x)


def test_reads_torch(tmp_path):
  torch = pytest.importorskip("torch", reason="torch is not installed")
  batches = [(i, torch.from_numpy(x.copy())) for i, x in BATCHES]
  # Views of a storage, too.
  whole = torch.from_numpy(np.ascontiguousarray(VECTORS.T)).T
  batches[1] = (1, whole[2:4])
  path = tmp_path / "x.pickle"
  for protocol in (2, 3, 4, 5):
    path.write_bytes(pickle.dumps(batches, protocol))
    found = import_features(path, "a").descriptors["a"]
    np.testing.assert_array_equal(found, VECTORS)
  for zipped in (True, False):
    torch.save(batches, path, _use_new_zipfile_serialization=zipped)
    found = import_features(path, "a").descriptors["a"]
    np.testing.assert_array_equal(found, VECTORS)


class _Call:
  def __init__(self, *call):
    self._call = call

  def __reduce__(self):
    return self._call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_runs_nothing(tmp_path, protocol):
  victim = tmp_path / "victim"
  path = tmp_path / "x.pickle"
  for call in (
    (os.mkdir, (str(victim),)),
    (eval, (f"open({str(victim)!r}, 'w')",)),
    (np.save, (str(victim), np.zeros(1))),
    (getattr, ("", "join")),
    (np.lib.format.open_memmap, (str(victim), "w+", "f4", (1,))),
  ):
    for content in (
      [(0, _Call(*call))],
      _Call(*call),
      [*BATCHES, _Call(*call)],
    ):
      path.write_bytes(pickle.dumps(content, protocol))
      with pytest.raises(
        TorchFileError, match=r"x\.pickle: its pickle|it asks"
      ):
        import_features(path, "a")
      assert not list(tmp_path.glob("victim*"))
  # numpy's own door: an array of objects.
  objects = np.array([[_Call(os.mkdir, (str(victim),))]], object)
  path.write_bytes(pickle.dumps([(0, objects)], protocol))
  with pytest.raises(TorchFileError):
    import_features(path, "a")
  assert not victim.exists()


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ([], "list of features"),
    ({"a": 1}, "list of features"),
    ([VECTORS], "entry 0 of its list is no"),
    ([(0, VECTORS), (0, VECTORS)], "batch 0 comes after 0"),
    ([(0, VECTORS), (1, VECTORS[:, :2])], "2 numbers an image"),
    ([(0, VECTORS[0])], r"float32 \[3\]"),
    ([(0, VECTORS.astype(int))], "no floats"),
    ([(0, [1.0])], "holds list"),
    ([("0", VECTORS)], "batch index '0'"),
    ([(0, np.array([["a"]]))], "dtype 'U1'"),
  ],
)
def test_refuses_what_is_no_feature_list(tmp_path, content, message):
  path = tmp_path / "x.pickle"
  path.write_bytes(pickle.dumps(content, 4))
  with pytest.raises(TorchFileError, match=message):
    import_features(path, "a")


def test_damaged_pickles_are_named(tmp_path):
  whole = pickle.dumps(BATCHES, 4)
  path = tmp_path / "x.pickle"
  rng = np.random.default_rng(0)
  for content in (b"", b"PK", whole[:-20], whole[:40], rng.bytes(300)):
    path.write_bytes(content)
    with pytest.raises(TorchFileError, match=r"x\.pickle: "):
      import_features(path, "a")
  for _ in range(300):  # whatever it is, it is no other error
    damaged = bytearray(whole)
    damaged[rng.integers(len(whole))] = rng.integers(256)
    path.write_bytes(damaged)
    try:
      import_features(path, "a")
    except TorchFileError:
      continue


def test_reads_h5(tmp_path):
  h5py = pytest.importorskip("h5py", reason="h5py is not installed")
  path, names = tmp_path / "x.h5", tmp_path / "names.txt"
  with h5py.File(path, "w") as file:
    file["rmac"] = VECTORS
    file["counts"] = np.arange(5)
  lines = [
    "eval/train/CLEVR_train_000000.png",
    "my val/val/CLEVR_val_000007.png",
  ]
  lines += [f"val/CLEVR_val_{i:06d}.png" for i in (3, 4, 5)]
  names.write_text("\n".join(lines) + "\n")
  with pytest.raises(ValueError, match="need --names"):
    import_features(path, "rmac")
  features = import_features(path, "rmac", names=names, label="R-MAC")
  np.testing.assert_array_equal(features.descriptors["rmac"], VECTORS[1:])
  assert features.image_index.tolist() == [7, 3, 4, 5]
  assert features.image_filename[0] == "CLEVR_val_000007.png"
  assert features.about("rmac") == {"label": "R-MAC", "metric": "cosine"}
  for arguments, message in (
    ({"split": "test"}, "no name contains 'test'"),
    ({"dataset": "x"}, "there are: counts, rmac"),
    ({"dataset": "counts"}, r"int64 \[5\]"),
  ):
    with pytest.raises(ValueError, match=message):
      import_features(path, "rmac", names=names, **arguments)
  names.write_text("\n".join(lines[:4]))
  with pytest.raises(ValueError, match=r"5 vectors, but .* has 4 names"):
    import_features(path, "rmac", names=names)
  path.write_bytes(b"no hdf5")
  with pytest.raises(ValueError, match="not a readable HDF5 file"):
    import_features(path, "rmac", names=names)


@pytest.mark.parametrize(
  ("names", "index"),
  [
    (["a_7.png", "b_3.png"], [7, 3]),
    (["a_7.png", "b_7.png"], [0, 1]),
    (["a_7.png", "b.png"], [0, 1]),
    (["12345678901234567890123.jpg", "3.jpg"], [0, 1]),
    ([], []),
  ],
)
def test_images_are_numbered_by_their_names_or_their_rows(names, index):
  assert importers.numbers_in(names).tolist() == index


def test_one_writes_at_a_time(tmp_path):
  path, output = tmp_path / "x.pickle", tmp_path / "f.npz"
  path.write_bytes(pickle.dumps(BATCHES))
  with writing(output), pytest.raises(BusyError, match=r"f\.npz: another run"):
    importers._main(str(path), str(output), "avf")
  assert not output.exists()
  importers._main(str(path), str(output), "avf")
  assert load_features(output).descriptors["avf"].shape == (5, 3)


def test_command(tmp_path):
  path = tmp_path / "x.pickle"
  path.write_bytes(pickle.dumps(BATCHES))

  result = subprocess.run(
    [
      *(sys.executable, "-m", "rn_jax.retrieval.importers"),
      *(f"--input={path}", f"--output={tmp_path / 'f.npz'}"),
      *("--name=avf", "--label=AVF-RN", "--split=train"),
    ],
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert result.returncode == 0, result.stderr
  assert "avf, 5 images, 3 numbers each" in result.stdout
  features = load_features(tmp_path / "f.npz")
  assert features.image_filename[0] == "CLEVR_train_000000.png"
  assert features.label("avf") == "AVF-RN"
