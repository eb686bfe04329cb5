"""What the disk refuses is said in a line, with its place and a remedy."""

import os
import subprocess
import sys

import pytest
from places import ROOT

from rn_jax.host.exclusive import exclusive
from rn_jax.host.write_errors import explain


def test_a_full_disk_is_named_by_whoever_holds_the_lock(tmp_path):
  with (
    pytest.raises(OSError, match="No space") as full,
    exclusive(tmp_path / "records" / ".lock"),
    exclusive(tmp_path / "records" / "cache" / ".lock"),
    open("/dev/full", "w") as file,
  ):
    file.write("text")
  assert full.value.filename == str(tmp_path / "records" / "cache")
  assert explain(full.value).startswith(
    f"{tmp_path}/records/cache: No space left on device; make room"
  )


def test_errors_keep_their_own_names(tmp_path):
  with pytest.raises(OSError, match="absent"), exclusive(tmp_path / ".lock"):
    (tmp_path / "absent").read_text()
  (tmp_path / "file").touch()
  with (
    pytest.raises(NotADirectoryError) as inside,
    exclusive(tmp_path / ".lock"),
  ):
    (tmp_path / "file" / "x").write_text("")
  assert explain(inside.value) == (
    f"{tmp_path}/file/x: Not a directory; part of this path is a file; choose "
    "another place"
  )
  assert explain(OSError("of the work")) == "of the work"
  assert explain(ValueError("a value")) == "a value"


@pytest.mark.parametrize(
  "command",
  [
    ("launch.py", "--workdir={}", "--config.data.dir=nowhere"),
    (
      *("-m", "data_prep.generate", "--num_scenes=1", "--workers=1"),
      "--output_dir={}",
    ),
  ],
)
def test_commands_say_so(command, tmp_path):
  (tmp_path / "file").touch()
  place = tmp_path / "file" / "new"
  done = subprocess.run(
    [sys.executable, *(part.format(place) for part in command)],
    cwd=ROOT,
    env=dict(os.environ, JAX_PLATFORMS="cpu"),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1
  last = done.stderr.splitlines()[-1]
  assert f"{place}: Not a directory; part of this path is a file" in last
  assert "Traceback" not in done.stderr
