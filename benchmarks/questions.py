"""How fast scenes and questions are made, in questions per core.

    python -m benchmarks.questions [--language_dir=DIR] [--scenes=1000]

Makes the files of a split with one process and all question families: the
project's, and those of --language_dir. Time is CPU time of the process, which
hardly depends on what else the machine does. The stages: sampling scenes, the
visibility rule, finding questions and their words, writing them as JSON, and
the files (parts, hashes, joining).
"""

import collections
import functools
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from absl import flags

from benchmarks import timing
from data_prep.chance import random_stream
from data_prep.generation import split_files
from data_prep.generation.job import SCENES_PER_PART, Job, make_scene
from data_prep.generation.scenes import sample_scene
from data_prep.language.questions import ask
from rn_jax.host import cli
from rn_jax.host.pool import HERE

# Questions per second of one core that CLEVR's own generator makes, from slow
# to fast scenes.
ORIGINAL = (19, 25)
_STAGES = ("scenes", "visibility", "questions", "JSON", "files")


def run(language_dir: str | None, scenes: int, repeats: int) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  rows, shares = [], []
  for directory in dict.fromkeys([None, language_dir]):
    name = "given" if directory else "own"
    for pixels in (0, 200):
      job = Job(
        "train", scenes, min_visible_pixels=pixels, language_dir=directory
      )
      count, seconds = _measure(job, repeats)
      total = sum(seconds.values())
      rate = count / total
      minutes = 70_000 * 10 / rate / 16 / 60
      times = rate / ORIGINAL[1]
      rows.append((name, f"{pixels}", count, rate, minutes, times))
      percent = [100 * seconds[stage] / total for stage in _STAGES]
      shares.append((name, f"{pixels}", *percent))
  timing.print_table(
    (
      "templates",
      "pixels",
      "questions",
      "questions/s",
      "minutes for 700,000 on 16 cores",
      "times the original",
    ),
    rows,
  )
  low, high = ORIGINAL
  print(f"\nThe original: {low} to {high} questions/s. CPU time, %:\n")
  timing.print_table(("templates", "pixels", *_STAGES), shares)
  return rows


def _measure(job: Job, repeats: int) -> tuple[int, dict[str, float]]:
  """Returns the number of questions, and the least seconds of each stage."""
  best = collections.defaultdict(lambda: math.inf)

  def clock(stage: str, function: Callable, *arguments):
    started = time.process_time()
    result = function(*arguments)
    best[stage] = min(best[stage], time.process_time() - started)
    return result

  sample = functools.partial(sample_scene, job.seed, job.split)
  for _ in range(repeats):
    clock("scenes", _all, sample, range(job.num_scenes))
    scenes = clock(
      "visible scenes",
      _all,
      functools.partial(make_scene, job),
      range(job.num_scenes),
    )
    questions = clock("questions", _ask, job, scenes)
    clock("JSON", _all, json.dumps, [*scenes, *questions])
    with tempfile.TemporaryDirectory() as folder:
      clock("all", split_files.make, job, Path(folder), HERE)
  best["visibility"] = max(best["visible scenes"] - best["scenes"], 0.0)
  best["files"] = 0.0
  others = sum(best[stage] for stage in _STAGES)
  best["files"] = max(best["all"] - others, 0.0)
  return len(questions), {stage: best[stage] for stage in _STAGES}


def _all(function: Callable, items: Iterable) -> list:
  return [function(item) for item in items]


def _ask(job: Job, scenes: list[dict]) -> list[dict]:
  questions = []
  for start in range(0, len(scenes), SCENES_PER_PART):
    part = scenes[start : start + SCENES_PER_PART]
    rng = random_stream(
      "questions", job.seed, job.split, start // SCENES_PER_PART
    )
    for asked in ask(part, job.language, rng, job.questions_per_scene):
      questions += asked
  return questions


if __name__ == "__main__":
  timing.main(
    run,
    [
      cli.path_flag(
        "language_dir", None, "Folder with other templates to measure, too."
      ),
      flags.DEFINE_integer("scenes", 1000, "Scenes to make."),
      flags.DEFINE_integer("repeats", 3, "Rounds; the fastest counts."),
    ],
  )
