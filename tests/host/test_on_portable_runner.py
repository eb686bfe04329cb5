"""Another runner than the tests beside: a job service, workers over loopback.

That is how clusters are spoken to; the service that Beam brings runs a pipeline
itself, and has this process do the units.
"""

import subprocess
import sys
import time

import numpy as np
import pytest

from data_prep.conversion import shards
from data_prep.generate import generate
from data_prep.generation import job as jobs
from data_prep.generation.job import Job
from data_prep.rendering import drawing
from data_prep.rendering.camera import FRAME
from rn_jax.host.atomic import replacing
from rn_jax.host.pool import Pool

pytest.importorskip("apache_beam")


@pytest.fixture(scope="module")
def options(tmp_path_factory):
  """Options of Beam for a job service, which ends with the tests."""
  folder = tmp_path_factory.mktemp("service")
  port = folder / "port"
  module = "apache_beam.runners.portability.local_job_service_main"
  with (folder / "log").open("w") as log:
    service = subprocess.Popen(
      [sys.executable, "-m", module, f"--port_file={port}"],
      stdout=log,
      stderr=subprocess.STDOUT,
    )
  try:
    while not port.exists():
      assert service.poll() is None, (folder / "log").read_text()
      time.sleep(0.1)
    yield (
      f"--runner=PortableRunner --job_endpoint=localhost:{port.read_text()} "
      "--environment_type=LOOPBACK"
    )
  finally:
    service.terminate()
    service.wait()


def fail_once(folder, kind, unit):
  """Unit 2 fails the first time, after it has begun to write."""
  with replacing(folder / f"{unit}.txt") as temporary:
    temporary.write_text(str(3 * unit))
    if unit == 2 and not (folder / "failed").exists():
      (folder / "failed").touch()
      raise kind("unit 2 is bad")
  with (folder / "calls").open("a") as calls:
    calls.write(f"{unit}\n")
  return {"files": 1}


def test_what_a_worker_failed_at_is_done_again(tmp_path, options):
  # Neither a ValueError nor an OSError: the unit is not to blame.
  shared = (tmp_path, RuntimeError)
  hidden = tmp_path / "job"
  pool = Pool(1, options)
  done = pool.do(fail_once, range(5), folder=hidden, shared=shared)
  assert list(done) == list(range(5))
  found = {p.name: p.read_text() for p in tmp_path.glob("*.txt")}
  assert found == {f"{i}.txt": str(3 * i) for i in range(5)}
  calls = (tmp_path / "calls").read_text().split()
  assert sorted(calls) == list("01234")  # and what was finished, is not
  assert not list(tmp_path.glob(".*"))
  assert not hidden.exists()


def test_a_unit_says_what_is_wrong(tmp_path, options):
  shared = (tmp_path, ValueError)
  done = Pool(1, options).do(
    fail_once, range(5), folder=tmp_path / "job", shared=shared
  )
  with pytest.raises(ValueError, match=r"^unit 2 is bad$"):
    list(done)
  assert not (tmp_path / "2.txt").exists()


def draw_ramps(scenes, width, height, frame=FRAME):
  numbers = [round(1000 * scene["camera"][0]) for scene in scenes]
  rows = np.arange(height)[:, None, None] + np.zeros((height, width, 3))
  return np.stack([((rows + i) % 256).astype(np.uint8) for i in numbers])


def test_data_sets_are_those_of_a_local_run(
  tmp_path, options, monkeypatch, capsys
):
  monkeypatch.setattr(jobs, "SCENES_PER_PART", 4)
  monkeypatch.setattr(shards, "SCENES_PER_SHARD", 4)
  monkeypatch.setattr(drawing, "render", draw_ramps)
  job = Job("train", 9, 3, templates=("zero_hop",), questions_per_scene=3)
  for name, how in (
    ("here", {"workers": 1}),
    ("service", {"beam_options": options}),
  ):
    generate(
      tmp_path / name / "clevr",
      job,
      images=True,
      size=(24, 16),
      records_dir=tmp_path / name / "records",
      record_size=16,
      **how,
    )
  here, service = (
    {
      str(path.relative_to(tmp_path / name)): path.read_bytes()
      for path in (tmp_path / name).rglob("*")
      if path.is_file()
    }
    for name in ("here", "service")
  )
  assert service.keys() == here.keys()
  for name, content in here.items():
    assert service[name] == content, name
  assert sum("train.tfrecord" in name for name in here) == 3
  counted = capsys.readouterr().out
  assert " refusals, 9 scenes" in counted
  assert "Beam: 9 pictures\n" in counted
