"""Makes a split in chunks of scenes, with several processes or without."""

import collections
import functools
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from data_prep.questions import ask
from data_prep.scenes import random_stream, sample_scene
from data_prep.templates import load_language

# Scenes over which families and answers are balanced, then the counters start
# anew (as in CLEVR). A chunk is also what one worker makes at a time.
CHUNK = 250

_TEST_FIELDS = ("image_index", "image_filename", "split", "question")

language_of = functools.cache(load_language)


@dataclass(frozen=True)
class Job:
  """What to make; the arguments of data_prep.generate.generate."""

  split: str
  num_scenes: int
  seed: int
  min_objects: int
  max_objects: int
  questions_per_scene: int
  language_dir: str | None
  templates: tuple[str, ...]


def make_chunk(job: Job, chunk: int) -> tuple[list[str], list[str]]:
  """Makes CHUNK scenes and their questions, as JSON without question_index."""
  language = language_of(job.language_dir, job.templates)
  indices = range(chunk * CHUNK, min((chunk + 1) * CHUNK, job.num_scenes))
  scenes = [
    sample_scene(
      job.seed,
      job.split,
      index,
      min_objects=job.min_objects,
      max_objects=job.max_objects,
    )
    for index in indices
  ]
  rng = random_stream("questions", job.seed, job.split, chunk)
  questions = [
    question
    for asked in ask(scenes, language, rng, job.questions_per_scene)
    for question in asked
  ]
  if job.split.startswith("test"):
    questions = [{key: q[key] for key in _TEST_FIELDS} for q in questions]
  return [json.dumps(s) for s in scenes], [json.dumps(q) for q in questions]


def make_chunks(
  job: Job, workers: int
) -> Iterator[tuple[list[str], list[str]]]:
  """Yields the chunks in order, made by several processes."""
  numbers = range(-(-job.num_scenes // CHUNK))
  workers = min(workers, len(numbers))
  if workers == 1:
    for chunk in numbers:
      yield make_chunk(job, chunk)
    return
  context = multiprocessing.get_context("spawn")
  with ProcessPoolExecutor(workers, mp_context=context) as pool:
    pending = collections.deque()
    for chunk in numbers:
      pending.append(pool.submit(make_chunk, job, chunk))
      if len(pending) > 2 * workers:  # what is made early waits in memory
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()
