"""The road from images to a gallery, as its users go it."""

import csv
import os
import pathlib
import subprocess
import sys

from places import ROOT
from small_network import write_network

from rn_jax.retrieval.describe.features import load_features


def run(*arguments):
  return subprocess.run(
    [sys.executable, *map(str, arguments)],
    cwd=ROOT,
    env=dict(os.environ, JAX_PLATFORMS="cpu"),
    capture_output=True,
    text=True,
    timeout=300,
  )


def succeed(*arguments):
  done = run(*arguments)
  assert done.returncode == 0, done.stderr[-3000:]
  return done


def test_from_images_to_a_gallery(make_config, clevr_dir, tmp_path):
  network = tmp_path / "network"
  write_network(network, make_config("ir_fp"))
  images = clevr_dir / "images" / "val"
  workdir = tmp_path / "work"
  workdir.mkdir()
  done = succeed(
    *("launch.py", "--mode=extract", "--config=configs/ir_fp.py"),
    *(f"--workdir={workdir}", f"--checkpoint={network}"),
    *(f"--images={images}", "--descriptors=conv_rmac,g2_avg", "--split=mine"),
    "--config.eval.batch_size=2",
  )
  path = workdir / "features_mine.npz"
  assert done.stdout.strip() == str(path)
  assert "images/s" in done.stderr
  assert "conv_rmac: R-MAC (RN CNN), 5 x 8" in done.stderr
  features = load_features(path)
  assert list(features.descriptors) == ["conv_rmac", "g2_avg"]
  index = tmp_path / "index"
  done = succeed(
    *("-m", "rn_jax.retrieval.index", f"--features={path}"),
    *("--descriptor=conv_rmac", f"--output={index}"),
  )
  assert "5 images, 8 numbers each, conv_rmac, cosine, Flat" in done.stdout
  done = succeed(
    *("-m", "rn_jax.retrieval.query", f"--index={index}", "--k=2"),
    *(f"--image={images / 'CLEVR_val_000001.png'}", "--image_index=3"),
    "--format=csv",
  )
  hits = list(csv.DictReader(done.stdout.splitlines()))
  assert [hit["rank"] for hit in hits] == ["1", "2"]
  assert not {"1", "3"} & {hit["image_index"] for hit in hits}
  assert all(pathlib.Path(hit["path"]).exists() for hit in hits)
  page = tmp_path / "gallery.html"
  done = succeed(
    *("-m", "rn_jax.retrieval.gallery", f"--features={path}", "--query=0,4"),
    *("--k=3", f"--output={page}"),
  )
  assert page.read_text().count("<h2>") == 4


def test_mistakes_end_without_a_traceback(make_config, records_dir, tmp_path):
  network = tmp_path / "network"
  write_network(network, make_config("ir_sd"))
  done = run(
    *("launch.py", "--mode=extract", f"--checkpoint={network}"),
    *(f"--config.data.dir={records_dir}", "--descriptors=g3_avg"),
  )
  assert done.returncode == 1
  assert "the inputs of its first layers: g2_avg" in done.stderr
  assert "Traceback" not in done.stderr
