"""What to generate, and how a part of it is made."""

import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass

from data_prep import world as world_facts
from data_prep.chance import random_stream
from data_prep.generation.scenes import SPLITS, sample_scene
from data_prep.generation.staging import CLEVR, Staging
from data_prep.language.questions import ask
from data_prep.language.reading import Language, load_language
from data_prep.rendering.visibility_rule import shows_every_object
from data_prep.world import World
from rn_jax.clevr import MAX_OBJECTS, MIN_VISIBLE_PIXELS

# Goes up whenever the same arguments would give other data: of CLEVR's objects,
# or of a world's.
VERSION, WORLD_VERSION = 3, 4

# A part is what one worker makes at a time, and what an interruption keeps.
SCENES_PER_PART = 250

# Scenes over which families and answers are balanced, then the counters start
# anew. CLEVR's public generator takes 250. The released data were made on many
# machines whose counters saw few scenes each, so that rare counts, which few
# scenes allow, could not catch up with frequent ones.
BALANCED_SCENES = {"balanced": 250, "released": 25}

_TEST_FIELDS = ("image_index", "image_filename", "image", "split", "question")

_language_of = functools.cache(load_language)


@dataclass(frozen=True)
class Job:
  """What to make: all that the data depend on.

  Attributes:
    split: A key of generation.scenes.SPLITS: train, val, test, or one of
      CoGenT's trainA, valA, testA, valB, testB.
    num_scenes: Number of scenes.
    seed: Every seed gives other data.
    min_objects: Fewest objects of a scene.
    max_objects: Most objects of a scene, at most 10.
    min_visible_pixels: Fewest pixels that each object shows in a picture of
      480x320; 0 does not look.
    questions_per_scene: Most questions about a scene, each from another
      template.
    count_answers: A key of BALANCED_SCENES.
    language_dir: Folder with templates/*.json and synonyms.json; None: the
      project's own.
    templates: Template files to use, such as "zero_hop"; empty: all.
    staging: Camera, lamps and ground.
    world: What objects can be.

  Raises:
    ValueError: A value makes no sense.
  """

  split: str
  num_scenes: int
  seed: int = 0
  min_objects: int = 3
  max_objects: int = MAX_OBJECTS
  min_visible_pixels: int = MIN_VISIBLE_PIXELS
  questions_per_scene: int = 10
  count_answers: str = "balanced"
  language_dir: str | os.PathLike | None = None
  templates: tuple[str, ...] = ()
  staging: Staging = CLEVR
  world: World = world_facts.CLEVR

  def __post_init__(self):
    for name, known in (("split", SPLITS), ("count_answers", BALANCED_SCENES)):
      if getattr(self, name) not in known:
        raise ValueError(
          f"{name} {getattr(self, name)!r} is none of {', '.join(known)}"
        )
    for name in ("num_scenes", "questions_per_scene"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
    if not 1 <= self.min_objects <= self.max_objects <= MAX_OBJECTS:
      raise ValueError(
        f"min_objects {self.min_objects} and max_objects {self.max_objects} "
        f"must satisfy 1 <= min_objects <= max_objects <= {MAX_OBJECTS}"
      )
    if not 0 <= self.min_visible_pixels <= 500:
      raise ValueError(
        f"min_visible_pixels is {self.min_visible_pixels}, must be from 0 to "
        "500; small objects never show much more"
      )
    self.staging.check()
    if self.world != world_facts.CLEVR and SPLITS[self.split]:
      raise ValueError(
        f"the split {self.split!r} of CoGenT goes by CLEVR's colors; it has no "
        "other properties"
      )

  @property
  def language(self) -> Language:
    """The templates and synonyms; see load_language for what it raises."""
    return _language_of(self.language_dir, self.templates)

  @property
  def version(self) -> int:
    """Of what makes the data."""
    return VERSION if self.world == world_facts.CLEVR else WORLD_VERSION

  def info(self) -> dict:
    """What the data depend on, for the head of the files."""
    made_from = asdict(self)
    split = made_from.pop("split")
    for name in ("language_dir", "templates", "staging", "world"):
      del made_from[name]
    made_from["language"] = self.language.fingerprint
    generator = {"version": self.version, **made_from, **self._changes()}
    return {"split": split, "version": "1.0", "generator": generator}

  def _changes(self) -> dict:
    """What is not as in CLEVR."""
    if self.world == world_facts.CLEVR:
      return self.staging.changes()
    return {**self.staging.changes(), "properties": self.world.to_json()}

  def look(self) -> dict:
    """What pictures depend on besides their renderer and size."""
    return {
      "split": self.split,
      "seed": self.seed,
      "min_objects": self.min_objects,
      "max_objects": self.max_objects,
      "min_visible_pixels": self.min_visible_pixels,
      **self._changes(),
    }

  def key(self) -> str:
    """A hash of that; the same key means the same data."""
    text = json.dumps([self.info(), SCENES_PER_PART])
    return hashlib.sha256(text.encode()).hexdigest()

  @property
  def num_parts(self) -> int:
    """How many parts hold all scenes."""
    return -(-self.num_scenes // SCENES_PER_PART)


def is_same(found: dict | None, info: dict) -> bool:
  """Whether what a file says it was made from is what a job says.

  The order of properties counts, too: scenes are drawn by it.
  """
  if found != info or found is None:
    return False
  one, other = (x.get("generator", x).get("properties") for x in (found, info))
  return json.dumps(one) == json.dumps(other)


def make_scene(
  job: Job, index: int, refused: Callable[[], None] = lambda: None
) -> dict:
  """Makes a scene in CLEVR's JSON layout.

  Args:
    job: What to make.
    index: Number of the scene, from 0.
    refused: Called for each attempt in which an object shows too little.
  """

  def accept(scene: dict) -> bool:
    if shows_every_object(scene, min_pixels=job.min_visible_pixels):
      return True
    refused()
    return False

  return sample_scene(
    job.seed,
    job.split,
    index,
    min_objects=job.min_objects,
    max_objects=job.max_objects,
    accept=accept if job.min_visible_pixels else None,
    staging=job.staging,
    world=job.world,
  )


def make_part(job: Job, part: int) -> tuple[tuple[list[dict], list[dict]], int]:
  """Makes a part.

  Returns:
    Its scenes, and questions without `question_index`; and how many scenes were
    refused before, as they hid an object.
  """
  indices = range(
    part * SCENES_PER_PART, min((part + 1) * SCENES_PER_PART, job.num_scenes)
  )
  attempts = itertools.count()
  scenes = [make_scene(job, i, lambda: next(attempts)) for i in indices]
  rng = random_stream("questions", job.seed, job.split, part)
  balanced = BALANCED_SCENES[job.count_answers]
  questions = [
    question
    for start in range(0, len(scenes), balanced)
    for asked in ask(
      scenes[start : start + balanced],
      job.language,
      rng,
      job.questions_per_scene,
    )
    for question in asked
  ]
  if job.split.startswith("test"):
    questions = [{key: q[key] for key in _TEST_FIELDS} for q in questions]
  return (scenes, questions), next(attempts)
