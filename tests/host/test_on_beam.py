"""Beam does what processes do: the same files, errors, and no half of them."""

import json
import os

import pytest

from rn_jax.host.atomic import replacing
from rn_jax.host.parts import Parts
from rn_jax.host.pool import Pool, make_parts, pool_of

on_beam = pytest.importorskip("rn_jax.host.on_beam")

OPTIONS = "--runner=DirectRunner"
BEAM = Pool(1, OPTIONS)


def write(folder, factor, unit):
  with replacing(folder / f"{unit}.txt") as temporary:
    temporary.write_text(str(factor * unit))
  with (folder / "calls").open("a") as calls:
    calls.write(f"{unit}\n")
  return {"files": 1, "numbers": unit}


def fail_once(folder, kind, unit):
  """Unit 2 fails the first time, after it has begun to write."""
  if unit == 2 and not (folder / "failed").exists():
    (folder / "failed").touch()
    with replacing(folder / "2.txt") as temporary:
      temporary.write_text("half")
      raise kind("unit 2 is bad")
  return write(folder, 3, unit)


def text_of(unit):
  return f"part of {unit}".encode(), {"parts": 1}


def calls(folder):
  return sorted(map(int, (folder / "calls").read_text().split()))


def files(folder):
  return {p.name: p.read_text() for p in folder.glob("*.txt")}


@pytest.fixture
def hidden(tmp_path):
  return tmp_path / "job" / "beam"


def test_every_unit_is_done_and_counted(tmp_path, hidden, capsys):
  done = BEAM.do(write, range(5), folder=hidden, shared=(tmp_path, 3))
  assert list(done) == list(range(5))
  assert files(tmp_path) == {f"{i}.txt": str(3 * i) for i in range(5)}
  assert calls(tmp_path) == list(range(5))
  assert "Beam: 5 files, 10 numbers" in capsys.readouterr().out
  assert not hidden.exists()
  assert not list(BEAM.do(write, [], folder=hidden))


def test_what_a_lost_worker_had_is_done_again(tmp_path, hidden):
  # Neither a ValueError nor an OSError: the unit is not to blame.
  shared = (tmp_path, RuntimeError)
  done = BEAM.do(fail_once, range(5), folder=hidden, shared=shared)
  assert list(done) == list(range(5))
  assert files(tmp_path) == {f"{i}.txt": str(3 * i) for i in range(5)}
  assert calls(tmp_path) == list(range(5))  # and what was finished, is not


@pytest.mark.parametrize("kind", [ValueError, OSError])
def test_a_unit_says_what_is_wrong(tmp_path, hidden, kind):
  with pytest.raises(kind, match=r"^unit 2 is bad$"):
    list(BEAM.do(fail_once, range(5), folder=hidden, shared=(tmp_path, kind)))
  assert "2.txt" not in files(tmp_path)
  assert not list(tmp_path.glob(".*"))
  assert not hidden.exists()


def test_what_never_works_is_given_up(tmp_path, hidden):
  with pytest.raises(ChildProcessError, match=r"3 pipelines .* left units un"):
    list(BEAM.do(write, [1], folder=hidden, shared=(tmp_path,)))


def test_workers_must_see_the_folder(tmp_path, hidden, monkeypatch):
  elsewhere = on_beam._do_unit
  monkeypatch.setattr(
    on_beam, "_do_unit", lambda u, folder, call: elsewhere(u, "/none", call)
  )
  with pytest.raises(ChildProcessError, match="/none is not seen by the wor"):
    list(BEAM.do(write, [1], folder=hidden, shared=(tmp_path, 3)))


def test_a_changed_unit_is_not_unpickled(tmp_path, hidden, monkeypatch):
  def run(folder, *arguments):
    (folder / "000000.unit").write_bytes(b"cposix\nsystem\n(S'exit 1'\ntR.")
    return _run(folder, *arguments)

  _run = on_beam._run
  monkeypatch.setattr(on_beam, "_run", run)
  with pytest.raises(ValueError, match=r"000000\.unit was changed"):
    list(BEAM.do(write, [1], folder=hidden, shared=(tmp_path, 3)))


def test_parts_are_those_of_processes(tmp_path):
  found = {}
  for pool in (Pool(), BEAM):
    parts = Parts(tmp_path / json.dumps(pool.beam_options), "job")
    parts.write(7, b"made before")
    units = [(3, "a"), (7, "b"), (5, "c")]
    found[pool] = list(make_parts(parts, text_of, units, pool, in_order=True))
    assert sorted(os.listdir(parts.folder)) == [
      f"00000{i}.part" for i in (3, 5, 7)
    ]
  assert found[BEAM] == found[Pool()]
  assert found[BEAM][1] == (7, b"made before")


@pytest.mark.parametrize(
  ("workers", "options", "message"),
  [
    (2, OPTIONS, "either workers or beam_options"),
    (None, "DirectRunner", "must be options of Beam"),
    (None, "--runner=NoRunner", "NoRunner"),
    (0, None, "workers is 0"),
  ],
)
def test_nonsense_is_refused(workers, options, message):
  with pytest.raises(ValueError, match=message):
    pool_of(workers, options)
