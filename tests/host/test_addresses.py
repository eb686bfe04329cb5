"""Paths in object stores: whole objects, and what is asked of paths."""

import contextlib
import pickle
import sys

import pytest
from object_store import ObjectStore, install

from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.exclusive import exclusive
from rn_jax.host.parts import Parts
from rn_jax.host.paths import is_address, place, remove_folder


@pytest.fixture(autouse=True)
def store():
  install()
  return ObjectStore.objects


def test_an_address_is_a_path(store):
  folder = place("gs://bucket/folder")
  path = folder / "a" / "x.json"
  assert str(path) == "gs://bucket/folder/a/x.json"
  assert str(path.parents[1]) == str(folder.absolute().resolve())
  assert place(path) == path == pickle.loads(pickle.dumps(path))
  assert is_address(path)
  path.parent.mkdir(parents=True)
  assert not path.parent.is_dir()  # there are no folders
  assert not path.exists()
  path.write_bytes("\ufeffä\n".encode())
  assert path.parent.is_dir()
  assert path.read_text(encoding="utf-8-sig") == "ä\n"
  with path.open("rb") as file:
    assert file.peek(1)[:1] == b"\xef"
    assert (file.seek(0, 2), file.seek(3)) == (6, 3)
    assert file.read() == "ä\n".encode()
  assert [str(p) for p in path.parent.glob("*.json")] == [str(path)]
  before = folder.joinpath("a").entries()
  path.write_bytes("ö".encode() + b"12345")
  assert before.keys() == path.parent.entries().keys() == {"x.json"}
  assert before != path.parent.entries()
  path.unlink()
  path.unlink(missing_ok=True)
  with pytest.raises(FileNotFoundError):
    path.read_bytes()
  assert not store


def test_objects_are_whole_or_absent(store):
  path = place("gs://bucket/x")
  with replacing(path) as temporary:
    temporary.write_text("one")
    assert not store
  with contextlib.suppress(KeyboardInterrupt), replacing(path) as temporary:
    temporary.write_text("half")
    raise KeyboardInterrupt
  assert store == {"bucket/x": b"one"}
  assert not temporary.parent.exists()


def test_parts_are_kept_and_removed(store):
  parts = Parts(place("gs://bucket/job"), {"seed": 0})
  parts.write(3, b"content")
  assert parts.read(3) == b"content"
  assert Parts(place("gs://bucket/job"), {"seed": 1}).read(3) is None
  parts.remove()
  assert not store
  remove_folder(place("gs://bucket/job"))


def test_nobody_is_kept_out_where_there_are_no_locks(store, caplog):
  caplog.set_level("INFO")
  lock = place("gs://bucket/folder/.lock")
  with exclusive(lock), exclusive(lock):
    assert not store
  assert "gs://bucket/folder: object stores have no locks" in caplog.text


@pytest.mark.parametrize(
  ("address", "message"),
  [
    ("gs://", "name a bucket"),
    ("gs://elsewhere/x", "there is no bucket elsewhere"),
    ("s3://bucket/x", r"pip install 'rn_jax\[s3\]'"),
    ("memory://x", "only local files are read"),
    ("https://host/x", "only local files are read"),
  ],
)
def test_what_cannot_be_reached_is_refused(address, message, monkeypatch):
  monkeypatch.setitem(sys.modules, "s3fs", None)
  with pytest.raises(ValueError, match=message):
    cli.read_path(address)


def test_a_store_that_does_not_answer_is_named(monkeypatch):
  def ls(*_, **__):
    raise RuntimeError("no credentials")

  monkeypatch.setattr(ObjectStore, "ls", ls)
  with pytest.raises(ValueError, match=r"gs://bucket/x cannot .*no credential"):
    cli.read_path("gs://bucket/x")


def test_what_is_there_or_will_be_is_taken(tmp_path):
  for path in ("gs://bucket/new", "gs://bucket", str(tmp_path), "", "a/"):
    assert cli.read_path(path) == path
