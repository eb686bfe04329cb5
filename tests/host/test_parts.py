"""Parts come back whole and for their own job, or not at all."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from rn_jax.host.atomic import leftovers
from rn_jax.host.parts import Parts

JOB = {"seed": 1, "names": ["a", "b"]}


@pytest.fixture
def folder(tmp_path):
  return tmp_path / "job.parts"


def test_a_part_comes_back(folder):
  parts = Parts(folder, JOB)
  assert parts.read(0) is None
  assert not folder.exists()
  for part, content in enumerate([b"one\ntwo\n", b"", bytes(range(256))]):
    parts.write(part, content)
    assert Parts(folder, dict(reversed(JOB.items()))).read(part) == content
  assert parts.read(7) is None
  parts.remove()
  parts.remove()
  assert not folder.exists()


def test_a_part_of_another_job_is_none_of_this(folder, caplog):
  Parts(folder, JOB).write(0, b"content")
  assert Parts(folder, {**JOB, "seed": 2}).read(0) is None
  assert "000000.part is damaged or of another job" in caplog.text
  assert Parts(folder, JOB).read(0) == b"content"


def test_any_damage_is_noticed(folder):
  parts = Parts(folder, JOB)
  parts.write(3, b"some content")
  whole = parts.path(3).read_bytes()
  for position in range(len(whole)):
    damaged = bytearray(whole)
    damaged[position] ^= 1
    parts.path(3).write_bytes(damaged)
    assert parts.read(3) is None
    parts.path(3).write_bytes(whole[:position])
    assert parts.read(3) is None
  parts.write(3, b"some content")
  assert parts.read(3) == b"some content"


def test_what_fails_leaves_the_part_as_it_was(folder, monkeypatch):
  parts = Parts(folder, JOB)
  parts.write(0, b"before")

  def fail(*_):
    raise OSError("no space left")

  monkeypatch.setattr(os, "fsync", fail)
  with pytest.raises(OSError, match="no space"):
    parts.write(0, b"after")
  assert parts.read(0) == b"before"
  assert not leftovers(folder)


def test_arrays_come_back_and_pickles_are_not_read(folder):
  parts = Parts(folder, JOB)
  arrays = {
    "x": np.arange(6, dtype=np.float32).reshape(2, 3),
    "words": np.array(["é", "two"]),
    "none": np.zeros((0, 4)),
  }
  assert parts.read_arrays(0) is None
  parts.write_arrays(0, **arrays)
  found = parts.read_arrays(0)
  assert found.keys() == arrays.keys()
  for name, x in arrays.items():
    np.testing.assert_array_equal(found[name], x, strict=True)
  parts.write_arrays(1, x=np.array([{}]))
  with pytest.raises(ValueError, match="allow_pickle=False"):
    parts.read_arrays(1)


def npz(header, whole):
  """An archive of the arrays "x" with another header."""
  content = io.BytesIO()
  with zipfile.ZipFile(content, "w") as archive:
    archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + header + whole)
  return content.getvalue()


@pytest.mark.parametrize(
  "content",
  [
    *(b"", b"no arrays", b"PK\x03\x04", pickle.dumps([1])),
    *(npz(b"\x10\x00", b"{'descr': '<f4'}"), npz(b"\xff\xff", b"")),
    npz(b"\x04\x00", b"1 + "),
    npz(
      b"\x40\x00",
      b"{'descr':'<f8','fortran_order':False,'shape':(8,)}".ljust(64),
    ),
  ],
)
def test_what_are_no_arrays_is_named(folder, content):
  parts = Parts(folder, JOB)
  parts.write(2, content)  # whole, so that its hash is right
  message = "000002.part: does not hold arrays .*remove it"
  with pytest.raises(ValueError, match=message):
    parts.read_arrays(2)
