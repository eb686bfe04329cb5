"""Archives: damaged and hostile ones are refused, by one error."""

import contextlib
import io
import json
import struct
import zipfile

import numpy as np
import pytest

from rn_jax.retrieval.describe.archive import (
  ArchiveError,
  read_archive,
  write_archive,
)

HEADER = {"format_version": 1, "text": "ü"}
ARRAYS = {
  "a/b": np.arange(12, dtype=np.float32).reshape(4, 3),
  "turned": np.arange(6).reshape(2, 3).T,
  "names": np.array(["x.png", "ü.png"]),
  "none": np.zeros((0, 3), np.int8),
}


def write(path):
  write_archive(path, HEADER, ARRAYS)
  return path.read_bytes()


def write_older(path):
  """As earlier versions did, without hashes."""
  metadata = np.array(json.dumps(HEADER))
  with open(path, "wb") as file:
    np.savez(file, metadata=metadata, **ARRAYS)
  return path.read_bytes()


def assert_whole(found):
  arrays, header = found
  assert header == HEADER
  assert list(arrays) == list(ARRAYS)
  for name, array in ARRAYS.items():
    assert arrays[name].dtype == array.dtype
    np.testing.assert_array_equal(arrays[name], array)


def damages(content, rng, count):
  """Content with a byte or a stretch changed, cut out, added or cut off."""
  for _ in range(count):
    at = int(rng.integers(len(content)))
    length = int(rng.choice([1, 1, 4, 100]))
    some = rng.bytes(length)
    bit = bytes([content[at] ^ 1 << rng.integers(8)])
    yield content[:at] + bit + content[at + 1 :]
    yield content[:at] + some + content[at + length :]
    yield content[:at] + content[at + length :]
    yield content[:at] + some + content[at:]
    yield content[:at]


@pytest.mark.parametrize("make", [write, write_older])
def test_damage_changes_nothing_or_is_refused(tmp_path, make):
  path = tmp_path / "x.npz"
  content = make(path)
  assert_whole(read_archive(path))
  rng = np.random.default_rng(0)
  refused = 0
  for damaged in damages(content, rng, 400):
    path.write_bytes(damaged)
    try:
      assert_whole(read_archive(path))
    except ArchiveError:
      refused += 1
  assert refused > 1000


@pytest.mark.parametrize("make", [write, write_older])
def test_every_byte_of_the_directory_matters_or_not(tmp_path, make):
  path = tmp_path / "x.npz"
  content = make(path)
  start = content.index(b"PK\x01\x02")
  for at in range(start, len(content)):
    for value in (0, 1, 0x7F, 0xFF, content[at] ^ 8):
      path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
      with contextlib.suppress(ArchiveError):
        assert_whole(read_archive(path))


def npy(header, content=b"", version=1):
  text = header.encode()
  size = struct.pack("<H" if version == 1 else "<I", len(text))
  return b"\x93NUMPY" + bytes([version, 0]) + size + text + content


def described(descr="'<f4'", shape="(2,)", order="False"):
  return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"


@pytest.mark.parametrize(
  "member",
  [
    npy(described(shape=f"({10**15},)"), bytes(8)),
    npy(described(shape=f"({2**62}, {2**62}, 0)"), bytes(8)),
    npy(described(shape=f"({2**70},)"), bytes(8)),
    npy(described(shape="(-2, -1)"), bytes(8)),
    npy(described(shape="(2.0,)"), bytes(8)),
    npy(described(shape="(True, 2)"), bytes(9)),
    npy(described("'<U0'"), b""),
    npy(described("'|O'"), bytes(16)),
    npy(described("[('a', '<f4')]"), bytes(8)),
    npy(described("'<M8[s]'"), bytes(16)),
    npy(described("'<U1'"), b"\xff" * 8),
    npy("(" * 9000, bytes(8)),
    npy("-" * 9000 + "1", bytes(8)),
    npy("[" * 150 + "]" * 150, bytes(8)),
    npy(described(), bytes(9)),
    npy(described(), bytes(7)),
    npy(described(), bytes(8), version=9),
    b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
    b"",
  ],
)
def test_hostile_arrays_are_refused(tmp_path, member):
  path = tmp_path / "x.npz"
  write_older(path)
  with zipfile.ZipFile(path, "a") as archive:
    archive.writestr("more.npy", member)
  with pytest.raises(ArchiveError):
    read_archive(path)


def metadata(text):
  file = io.BytesIO()
  np.save(file, np.array(text))
  return file.getvalue()


@pytest.mark.parametrize(
  "text",
  [
    *("", "3", '[["a", 1]]', "[" * 100_000, '{"a": ' * 100_000, 7),
    *('{"arrays_sha256": 3}', '{"arrays_sha256": {"lost": ""}}'),
  ],
  ids=lambda text: str(text)[:10],
)
def test_hostile_metadata_are_refused(tmp_path, text):
  path = tmp_path / "x.npz"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("metadata.npy", metadata(text))
  with pytest.raises(ArchiveError):
    read_archive(path)


def test_nothing_is_unpacked(tmp_path):
  path = tmp_path / "x.npz"
  np.savez_compressed(path, metadata=np.array("{}"), a=np.zeros(10**6))
  with pytest.raises(ArchiveError, match="compressed"):
    read_archive(path)


def test_an_array_that_is_not_the_one_written_is_noticed(tmp_path):
  path = tmp_path / "x.npz"
  write(path)
  with np.load(path) as archive:
    arrays = dict(archive)
  for change, message in (
    ({"a/b": arrays["a/b"] + 1}, "a/b is not as it was written"),
    ({"a/b": arrays["a/b"].reshape(3, 4)}, "a/b is not as it was written"),
    ({"more": np.zeros(1)}, "not those that its metadata name"),
  ):
    np.savez(path, **(arrays | change))
    with pytest.raises(ArchiveError, match=message):
      read_archive(path)
  del arrays["turned"]
  np.savez(path, **arrays)
  with pytest.raises(ArchiveError, match="not those that its metadata name"):
    read_archive(path)
