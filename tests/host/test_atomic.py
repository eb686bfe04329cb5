"""Files are replaced as a whole or not at all."""

import errno
import os
import re
import subprocess
import sys

import pytest
from places import ROOT

from rn_jax.host.atomic import leftovers, replacing


def test_the_file_appears_when_it_is_whole(tmp_path):
  path = tmp_path / "a.json"
  path.write_text("old")
  with replacing(path) as temporary:
    assert temporary.parent == tmp_path
    temporary.write_text("ne")
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == [temporary]
    temporary.write_text("new")
  assert path.read_text() == "new"
  assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_changes_nothing(tmp_path, error):
  path = tmp_path / "a.json"
  path.write_text("old")

  def write_half():
    with replacing(path) as temporary:
      temporary.write_text("half")
      raise error

  with pytest.raises(error):
    write_half()
  assert path.read_text() == "old"
  assert os.listdir(tmp_path) == ["a.json"]


def test_a_file_never_written_is_an_error(tmp_path):
  with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
    pass
  assert not os.listdir(tmp_path)


def test_errors_name_the_file_and_never_the_temporary_one(tmp_path):
  absent = tmp_path / "absent" / "why.png"
  message = f"{absent}: there is no folder {absent.parent}; make it"
  with (
    pytest.raises(FileNotFoundError, match=re.escape(message)),
    replacing(absent),
  ):
    pass
  (tmp_path / "file").touch()
  for place in (tmp_path / "file" / "a", tmp_path / ("a" * 250)):
    with pytest.raises(OSError, match="a") as caught, replacing(place) as file:
      file.write_text("text")
    assert caught.value.filename == str(place)
    assert ".tmp" not in str(caught.value)


def test_two_files_at_once_and_hidden_names(tmp_path):
  with replacing(tmp_path / ".a") as a, replacing(tmp_path / "b") as b:
    a.write_text("1")
    b.write_text("2")
    assert leftovers(tmp_path) == sorted([a, b])
  assert (tmp_path / ".a").read_text() == "1"
  assert not leftovers(tmp_path)


BEGIN = """
import os, signal, sys
from rn_jax.host.atomic import replacing
with replacing(sys.argv[1]) as temporary:
  temporary.write_text("half")
  print(temporary, flush=True)
  sys.stdin.read()
  os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path):
  paths = [tmp_path / name for name in ("a.json", "b.json")]
  killed, at_work = (
    subprocess.Popen(
      [sys.executable, "-c", BEGIN, path],
      cwd=ROOT,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    for path in paths
  )
  with killed, at_work:
    stale, written = (
      tmp_path / process.stdout.readline().strip()
      for process in (killed, at_work)
    )
    killed.stdin.close()
    killed.wait()
    # Process numbers of other hosts say nothing here, their times do.
    recent, old = (
      tmp_path / f".{name}.0123abcd-1.tmp" for name in ("recent", "old")
    )
    earlier = tmp_path / ".c.json.123.tmp"  # of an earlier version
    for path in (recent, old, earlier):
      path.touch()
    for path in (old, earlier):
      os.utime(path, (0, 0))
    mine = [tmp_path / ".notes.tmp", tmp_path / ".mydb-12.tmp"]
    for path in mine:
      path.touch()
      os.utime(path, (0, 0))
    before = sorted([stale, written, recent, old, earlier])
    assert leftovers(tmp_path) == before
    with replacing(tmp_path / "d.json") as temporary:
      temporary.touch()
      expected = sorted([written, recent, temporary])
      assert leftovers(tmp_path) == expected
    assert all(path.exists() for path in mine)


def test_what_is_no_file_is_not_replaced(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  with (
    pytest.raises(OSError, match="pipe is no regular file"),
    replacing(tmp_path / "pipe"),
  ):
    pass
  assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk_is_told_by_the_name_of_the_file(tmp_path):
  path = tmp_path / "results.json"

  def write():
    with replacing(path) as temporary:
      temporary.touch()
      raise OSError(errno.ENOSPC, "No space left on device")

  with pytest.raises(OSError, match="No space") as caught:
    write()
  assert caught.value.filename == str(path)
  assert not list(tmp_path.iterdir())
