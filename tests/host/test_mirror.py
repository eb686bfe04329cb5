"""Copies of folders in object stores: only what changed is sent."""

import contextlib

import pytest
from object_store import ObjectStore, install

from rn_jax.host.mirror import fetched, mirrored
from rn_jax.host.paths import place

RUN = "gs://bucket/run"


@pytest.fixture(autouse=True)
def store():
  install()
  return ObjectStore.objects


def test_changes_are_sent(store, monkeypatch):
  store |= {f"bucket/run/{name}": b"old" for name in ("a", "b/c", "b/d")}
  store |= {"bucket/running": b"", "bucket/run/b/": b""}
  sent = []
  put_file = ObjectStore.put_file

  def noted(self, lpath, rpath):
    sent.append(rpath)
    put_file(self, lpath, rpath)

  monkeypatch.setattr(ObjectStore, "put_file", noted)
  with mirrored(place(RUN)) as (folder, push):
    assert (folder / "b" / "c").read_text() == "old"
    push()
    assert not sent
    (folder / "z").write_text("one")
    with (folder / "a").open("a") as file:
      file.write("er")
    (folder / "b" / "c").unlink()
    (folder / "b" / "d").replace(folder / "b" / "e")
    push()
    push()
    assert sorted(sent) == [f"bucket/run/{name}" for name in ("a", "b/e", "z")]
    assert sent.index("bucket/run/z") < sent.index("bucket/run/a")
    (folder / "z").write_text("two")
  assert not folder.exists()
  wanted = {"a": b"older", "b/e": b"old", "z": b"two", "b/": b""}
  assert store == {
    "bucket/running": b"",
    **{f"bucket/run/{name}": content for name, content in wanted.items()},
  }


def test_changes_are_sent_after_an_error(store):
  with contextlib.suppress(SystemExit), mirrored(place(RUN)) as (folder, _):
    (folder / "x").write_text("x")
    raise SystemExit(143)
  assert store == {"bucket/run/x": b"x"}


def test_a_part_is_fetched_where_there_is_one(store):
  store |= {"bucket/run/step/1": b"1", "bucket/run/x": b"x"}
  for part, names in (("step", ["1"]), ("none", ["1", "x"]), ("", ["1", "x"])):
    with fetched(place(RUN), part) as folder:
      assert folder.name == "run"
      found = [path.name for path in folder.rglob("*") if path.is_file()]
      assert sorted(found) == names


def test_local_folders_stay(tmp_path, store):
  with mirrored(tmp_path) as (folder, push), fetched(folder) as same:
    assert tmp_path == folder == same
    (folder / "x").write_text("x")
    push()
  assert (tmp_path / "x").exists()
  assert not store


def test_no_object_is_written_outside(store):
  store["bucket/run/../x"] = b"x"
  with pytest.raises(ValueError, match="no name of a file"):
    fetched(place(RUN)).__enter__()
