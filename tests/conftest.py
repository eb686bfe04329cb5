"""Settings and data of all tests."""

import atexit
import gc
import json
import os
import pathlib
import shutil
import tempfile
from importlib import metadata

import jax
import pytest
from jaxtyping import install_import_hook
from PIL import Image, ImageDraw

# The shapes in signatures are checked wherever these are called or traced; to
# be said before any of them is imported. tests/models/test_shapes.py tests it.
install_import_hook(
  [
    "data_prep.rendering",
    "rn_jax.models",
    "rn_jax.retrieval.describe.extractor",
    "rn_jax.retrieval.describe.pooling",
    "rn_jax.retrieval.describe.rmac",
    "rn_jax.steps",
  ],
  "beartype.beartype",
)

from configs import tiny
from data_prep.convert_clevr import convert
from data_prep.generate import generate
from data_prep.generation.job import Job

# Compiling is most of the suite's time. Its numbers hold without LLVM's
# optimisations too, and what one test or command has compiled, others reuse.
_CACHE = os.environ.get("RN_JAX_TESTS_CACHE")
if _CACHE is None:  # in the process that starts the others
  _CACHE = tempfile.mkdtemp(prefix="rn_jax_tests_")
  os.environ["RN_JAX_TESTS_CACHE"] = _CACHE
  atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
# Tracing makes many objects that live on; to look through them all the time
# would be a twentieth of the suite's time.
gc.set_threshold(100_000, 50, 50)

# XLA's older way to emit loops compiles in two thirds of the time; a newer XLA
# no longer has it, and stops at a flag that it does not know.
if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) < (0, 11):
  _FLAGS = os.environ.get("XLA_FLAGS", "")
  os.environ["XLA_FLAGS"] = f"{_FLAGS} --xla_cpu_use_fusion_emitters=false"
for _name, _value in {
  "jax_disable_most_optimizations": True,
  "jax_compilation_cache_dir": _CACHE,
  "jax_persistent_cache_min_compile_time_secs": 0.0,
  "jax_persistent_cache_min_entry_size_bytes": -1,
}.items():
  jax.config.update(_name, _value)
  os.environ[_name.upper()] = str(_value)  # for the commands that tests run

IMAGE_SIZE = 32
NUM_SCENES = {"train": 10, "val": 5}


@pytest.fixture(scope="session")
def clevr_dir(tmp_path_factory) -> pathlib.Path:
  """Generated scenes and questions, with drawings in place of renderings."""
  root = tmp_path_factory.mktemp("clevr")
  for split, num_scenes in NUM_SCENES.items():
    job = Job(
      split,
      num_scenes,
      seed=1,
      templates=("zero_hop", "one_hop"),
      questions_per_scene=4,
      max_objects=5,
    )
    generate(root, job, workers=1)
    folder = root / "images" / split
    folder.mkdir(parents=True)
    scenes = json.loads(
      (root / "scenes" / f"CLEVR_{split}_scenes.json").read_text()
    )
    for scene in scenes["scenes"]:
      _draw(scene).save(folder / scene["image_filename"])
  return root


def _draw(scene: dict) -> Image.Image:
  image = Image.new("RGB", (480, 320), "white")
  canvas = ImageDraw.Draw(image)
  for thing in scene["objects"]:
    x, y, _ = thing["pixel_coords"]
    radius = 50 if thing["size"] == "large" else 25
    box = (x - radius, y - radius, x + radius, y + radius)
    outline = "black" if thing["material"] == "metal" else None
    draw = canvas.ellipse if thing["shape"] == "sphere" else canvas.rectangle
    draw(box, fill=thing["color"], outline=outline, width=8)
  return image


@pytest.fixture(scope="session")
def records_dir(clevr_dir, tmp_path_factory) -> pathlib.Path:
  """The generated data as records of 32x32 pixels."""
  root = tmp_path_factory.mktemp("records")
  convert(clevr_dir, root, image_size=IMAGE_SIZE, workers=1)
  return root


@pytest.fixture
def make_config(records_dir):
  """make_config("ir_fp", **{"train.num_epochs": 1.0}): a tiny experiment."""

  def make(name="original_sd", **changes):
    config = tiny.get_config(name)
    config.data.dir = str(records_dir)
    config.train.updates_per_call = 1  # one program to compile
    config.update_from_flattened_dict(changes)
    return config

  return make
