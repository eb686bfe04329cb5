"""What to generate, and how a part of it is made."""

import functools
import hashlib
import json
from dataclasses import dataclass

from data_prep.generation.scenes import random_stream, sample_scene
from data_prep.language.questions import ask
from data_prep.language.templates import load_language
from data_prep.rendering.visibility_rule import shows_every_object

# Goes up whenever the same arguments would give other data.
VERSION = 2

# A part is what one worker makes at a time, and what an interruption keeps.
SCENES_PER_PART = 250

# Scenes over which families and answers are balanced, then the counters start
# anew. CLEVR's public generator takes 250. The released data were made on many
# machines whose counters saw few scenes each, so that rare counts, which few
# scenes allow, could not catch up with frequent ones.
BALANCED_SCENES = {"balanced": 250, "released": 25}

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
  min_visible_pixels: int
  questions_per_scene: int
  count_answers: str
  language_dir: str | None
  templates: tuple[str, ...]

  def info(self) -> dict:
    """What the data depend on, for the head of the files."""
    language = language_of(self.language_dir, self.templates)
    return {
      "split": self.split,
      "version": "1.0",
      "generator": {
        "version": VERSION,
        "num_scenes": self.num_scenes,
        "seed": self.seed,
        "min_objects": self.min_objects,
        "max_objects": self.max_objects,
        "min_visible_pixels": self.min_visible_pixels,
        "questions_per_scene": self.questions_per_scene,
        "count_answers": self.count_answers,
        "language": language.fingerprint,
      },
    }

  def key(self) -> str:
    """A hash of that; the same key means the same data."""
    text = json.dumps([self.info(), SCENES_PER_PART])
    return hashlib.sha256(text.encode()).hexdigest()

  @property
  def num_parts(self) -> int:
    """How many parts hold all scenes."""
    return -(-self.num_scenes // SCENES_PER_PART)


def make_scene(job: Job, index: int) -> dict:
  """Makes a scene in CLEVR's JSON layout."""
  accept = None
  if job.min_visible_pixels:
    accept = functools.partial(
      shows_every_object, min_pixels=job.min_visible_pixels
    )
  return sample_scene(
    job.seed,
    job.split,
    index,
    min_objects=job.min_objects,
    max_objects=job.max_objects,
    accept=accept,
  )


def make_part(job: Job, part: int) -> tuple[list[dict], list[dict]]:
  """Makes the scenes of a part, and questions without `question_index`."""
  language = language_of(job.language_dir, job.templates)
  indices = range(
    part * SCENES_PER_PART, min((part + 1) * SCENES_PER_PART, job.num_scenes)
  )
  scenes = [make_scene(job, index) for index in indices]
  rng = random_stream("questions", job.seed, job.split, part)
  balanced = BALANCED_SCENES[job.count_answers]
  questions = [
    question
    for start in range(0, len(scenes), balanced)
    for asked in ask(
      scenes[start : start + balanced], language, rng, job.questions_per_scene
    )
    for question in asked
  ]
  if job.split.startswith("test"):
    questions = [{key: q[key] for key in _TEST_FIELDS} for q in questions]
  return scenes, questions
