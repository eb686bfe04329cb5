"""What a scene, a question, a picture and so on cost, for benchmarks.plan.

    python -m benchmarks.unit_costs --output=benchmarks/unit_costs.json
    python -m benchmarks.unit_costs --what=files --scenes=128

Seconds are those of the processor, all threads together, so that other programs
matter less; bytes are those of files and arrays. "files" have 10 questions a
scene, "files_of_all" one of each family that fits. "alone": by one process,
however many workers there are. "start": until a worker takes its first unit,
compiling included. What scenes and questions take together, such as reading and
records, is given for one of them.
"""

import functools
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import timing, workload
from benchmarks.data import draw_images
from data_prep.conversion.clevr_source import load_split
from data_prep.conversion.growing_vocabulary import Vocabulary
from data_prep.convert_clevr import convert
from data_prep.generation import split_files
from data_prep.generation.job import Job, make_scene
from data_prep.generation.parts import make_parts
from data_prep.rendering.drawing import draw_files
from rn_jax import parallel
from rn_jax.data.dataset import load_dataset
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.pool import HERE
from rn_jax.host.progress import progress_bar
from rn_jax.retrieval.describe.descriptors import (
  default_descriptors,
  parse_descriptor,
)
from rn_jax.retrieval.describe.extractor import Extractor, make_extract_step
from rn_jax.retrieval.scene_graphs.compare import compare
from rn_jax.retrieval.scene_graphs.scene_graph import scene_graphs
from rn_jax.steps import make_model

SIZES = ((128, 128), (480, 320))
_RULE = {"method": "v2", "match": "soft", "quirk": False, "tie_break": False}


def cpu(call: Callable[[], Any]) -> tuple[float, Any]:
  """Returns CPU seconds of a call, and what it returns."""
  started = time.process_time()
  result = jax.block_until_ready(call())
  return time.process_time() - started, result


def start_of(module: str) -> float:
  """Returns the CPU seconds of a new process that imports a module."""
  before = timing.children_cpu()
  subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
  return timing.children_cpu() - before


def _size(*paths: Path) -> int:
  return sum(path.stat().st_size for path in paths)


def files(scenes: int, folder: Path, per_scene: int) -> dict:
  """What scenes, questions and their records cost, and how large they are."""
  job = Job("train", scenes, questions_per_scene=per_scene)
  assert job.language.templates  # reads them
  make_scene(job, 0)  # to warm up
  hidden = folder / ".generate-train"
  hidden.mkdir()
  first, _ = cpu(lambda: [make_scene(job, i) for i in range(scenes)])
  made, parts = cpu(lambda: list(make_parts(job, hidden, HERE)))
  joined, _ = cpu(lambda: split_files.make(job, folder, HERE))
  questions = sum(len(asked) for _, asked in parts)

  draw_images(folder / "images" / "train", scenes)
  records = folder / "records"
  read, _ = cpu(lambda: load_split(folder, "train", Vocabulary()))
  whole, _ = cpu(lambda: convert(folder, records, workers=1))
  tracemalloc.start()
  before = tracemalloc.get_traced_memory()[0]
  kept = load_split(folder, "train", Vocabulary())
  memory = tracemalloc.get_traced_memory()[0] - before
  tracemalloc.stop()
  assert len(kept.sources) == scenes

  config = workload.load_config("ir_fp").data
  config.dir, config.cache = str(records), False
  decoded = load_dataset(config, "pixels", "train")
  arrays = [*decoded.questions.values(), decoded.family]
  paths = split_files.paths_of(job, folder)
  return {
    "questions a scene": questions / scenes,
    "seconds": {
      "scene": first / scenes,
      "question": (made - first) / questions,
      "question, joined alone": joined / questions,
      "question, read alone": read / questions,
      "scene, converted": (whole - read) / scenes,
      "start": start_of("data_prep.generation.parts"),
    },
    "bytes": {
      "scene, JSON": _size(paths["scenes"]) / scenes,
      "question, JSON": _size(paths["questions"]) / questions,
      "question, memory of converting": memory / questions,
      "scene, record": _size(*records.glob("*.tfrecord-*")) / scenes,
      "scene, decoded": decoded.scenes["image"].nbytes / scenes,
      "question, decoded": sum(x.nbytes for x in arrays) / questions,
    },
  }


def pictures(scenes: int, folder: Path) -> dict:
  """What drawing costs, compiling apart, and how large the files are."""
  costs, sizes = {}, {}
  job = Job("train", scenes)
  made = [make_scene(job, i) for i in range(scenes)]
  imported = start_of("data_prep.rendering.drawing")
  for size in SIZES:
    name = "{}x{}".format(*size)
    out = folder / name
    out.mkdir()

    def draw(some: list[dict], size=size, out=out) -> float:
      with progress_bar(total=len(some), leave=False) as bar:
        return cpu(
          lambda: draw_files(some, out, size, pool=HERE, hidden=out, bar=bar)
        )[0]

    first, again = draw(made[:1]), draw(made)
    costs[f"picture {name}"] = again / scenes
    costs[f"start, pictures {name}"] = imported + first - again / scenes
    sizes[f"picture {name}"] = _size(*out.iterdir()) / scenes
  return {"seconds": costs, "bytes": sizes}


def descriptors(scenes: int, folder: Path) -> dict:
  """What a 2S-RN of random weights takes to describe pictures."""
  del folder
  config = workload.load_config("ir_fp")
  model = make_model(config, workload.NUM_WORDS, workload.NUM_ANSWERS)
  images = workload.random_dataset(config, scenes, 1).scenes
  question = {
    "question": jnp.ones((1, 1, 3), jnp.int32),
    "question_length": jnp.full((1, 1), 3, jnp.int32),
  }
  batch = {"image": images["image"][:1], **question}
  chosen = [
    parse_descriptor(name, config.model)
    for name in default_descriptors(config.model)
  ]
  describe = Extractor(
    config,
    tuple(chosen),
    {},
    parallel.pmap_predict_step(make_extract_step(model, chosen)),
    parallel.replicate(jax.jit(model.init)(jax.random.key(0), batch)),
  )
  first, _ = cpu(lambda: describe(images, scenes))
  again, found = cpu(lambda: describe(images, scenes))
  start = start_of("rn_jax.retrieval.describe.extractor")
  number = sum(x.nbytes for x in found.values())
  return {
    "seconds": {
      "descriptor": again / scenes,
      "start, descriptors": start + first - again,
    },
    "bytes": {"descriptor": number / scenes},
  }


def distances(scenes: int, folder: Path) -> dict:
  """What a distance of the default rule takes."""
  del folder
  job = Job("train", scenes)
  graphs = scene_graphs(make_scene(job, i) for i in range(scenes))
  compare(_RULE, graphs, np.arange(1))  # to warm up
  seconds, found = cpu(lambda: compare(_RULE, graphs, np.arange(scenes)))
  return {
    "seconds": {"distance": seconds / found.size},
    "bytes": {"distance": found.itemsize},
  }


_MEASURES = {
  "files": functools.partial(files, per_scene=10),
  "files_of_all": functools.partial(files, per_scene=1000),  # are fewer
  "pictures": pictures,
  "descriptors": descriptors,
  "distances": distances,
}


def run(scenes: int, what: list[str], output: str | None) -> dict:
  """Prints and returns what was measured; see the flags below."""
  found = {}
  if output and Path(output).exists():
    found = json.loads(Path(output).read_text())
  for name in what:
    with tempfile.TemporaryDirectory() as folder:
      measured = _MEASURES[name](scenes, Path(folder))
    command = f"python -m benchmarks.unit_costs --what={name} --scenes={scenes}"
    about = {"command": command, "machine": timing.machine()}
    found[name] = {**about, **measured}
  text = json.dumps(found, indent=1) + "\n"
  print(text)
  if output:
    with replacing(output) as temporary:
      temporary.write_text(text)
  return found


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_integer("scenes", 64, "Of each data set.", lower_bound=1),
      flags.DEFINE_multi_enum(
        "what", list(_MEASURES), list(_MEASURES), "To measure."
      ),
      cli.path_flag("output", None, "JSON file; what it has else is kept."),
    ],
  )
