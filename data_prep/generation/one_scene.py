"""Single scenes to try a network on: made, drawn, and asked about."""

from collections.abc import Mapping

import numpy as np

from data_prep.chance import pick, random_stream
from data_prep.generation.job import Job, make_scene
from data_prep.generation.scenes import relationships
from data_prep.language.questions import ask
from data_prep.rendering.engine import render
from rn_jax.clevr import DIRECTIONS

# What pictures depend on besides the objects.
_KEPT = ("camera", "lamps", "background", "properties")


def make(seed: int) -> dict:
  """Returns a scene in CLEVR's JSON layout; every seed gives another."""
  return make_scene(Job("val", 1, seed), 0)


def draw(scene: dict) -> np.ndarray:
  """Returns a picture of a scene, [320, 480, 3] uint8.

  Raises:
    ValueError: It does not say enough to be drawn: where the camera is, or how
      objects are turned.
  """
  return render([scene])[0]


def complete(scene: Mapping) -> dict:
  """Returns a scene of its objects alone, with all else that CLEVR's have.

  Relations follow from coordinates. What it says of camera, lamps, ground and
  the looks of objects is kept.

  Args:
    scene: Its objects have the attributes and 3d_coords of CLEVR's.
  """
  objects = list(scene["objects"])
  return {
    "split": "val",
    "image_index": 0,
    "image_filename": "scene.png",
    "objects": objects,
    "relationships": relationships([o["3d_coords"] for o in objects]),
    "directions": DIRECTIONS,
    **{key: scene[key] for key in _KEPT if key in scene},
  }


def suggest(scene: dict, seed: int, number: int = 6) -> list[str]:
  """Returns questions that a scene has an answer to.

  They are of several kinds, and of each kind a short one.

  Args:
    scene: In CLEVR's JSON, with relationships.
    seed: Every seed gives others.
    number: How many at most.
  """
  rng = random_stream("suggest", seed)
  language = Job("val", 1).language
  (asked,) = ask([scene], language, rng, len(language.templates))
  by_kind: dict[str, list[str]] = {}
  for question in asked:
    of_kind = by_kind.setdefault(question["template_filename"], [])
    of_kind.append(question["question"])
  shortest = [sorted(of_kind, key=len)[:3] for of_kind in by_kind.values()]
  chosen = [pick(rng, questions) for questions in shortest]
  return sorted(sorted(chosen, key=len)[:number], key=len)
