"""Stages of a training, in which only some questions are read.

What is easy first, and what is rare for itself: so a network finds what it does
not find in the mixture of all questions.
"""

import re
from typing import NamedTuple

import numpy as np

from rn_jax.clevr import QUESTION_TYPES, template_file
from rn_jax.data.dataset import Dataset

_NAME = r"\w+(?:/\d+(?:-\d+)?)?"
_STAGE = re.compile(
  rf"\s*(?P<names>{_NAME}(?:[\s,]+{_NAME})*?)"
  r"(?:\s+up\s+to\s+(?P<objects>\d+)\s+objects)?"
  r"\s*:\s*(?P<questions>[\d_]+)(?:\s+or\s+(?P<accuracy>0?\.\d+))?\s*"
)


class Stage(NamedTuple):
  """A stage: `zero_hop comparison/0-3 up to 5 objects: 200000 or 0.95`.

  Attributes:
    names: Template files, with the numbers of some of their templates behind a
      slash or with all, or types of questions; "all" for all questions.
    questions: How many are read before the next stage begins.
    accuracy: Training accuracy, 0 to 1, at which it begins earlier; None: not.
    objects: Most objects of a scene; None: any number.
  """

  names: tuple[str, ...]
  questions: int
  accuracy: float | None = None
  objects: int | None = None


def parse_stage(text: str) -> Stage:
  """Reads a stage of config.data.curriculum.

  Raises:
    ValueError: It is not of the form of the example above.
  """
  found = _STAGE.fullmatch(text)
  if not found or not int(found["questions"]):
    raise ValueError(
      f"config.data.curriculum has the stage {text!r}, which is not like "
      "'zero_hop comparison/0-3 count: 200000': template files, some templates "
      "of a file, or types of questions, and how many questions are read. "
      "'up to 5 objects' before the colon leaves out larger scenes; 'or 0.95' "
      "in the end is a training accuracy at which the next stage begins"
    )
  accuracy, objects = found["accuracy"], found["objects"]
  return Stage(
    tuple(re.split(r"[\s,]+", found["names"])),
    int(found["questions"]),
    float(accuracy) if accuracy else None,
    int(objects) if objects else None,
  )


def shorten_stage(text: str, part: float) -> str:
  """Returns a stage with `part`, 0 to 1, of its questions, or one of them."""
  found = _STAGE.fullmatch(text)
  assert found, text  # which parse_stage has read
  first, last = found.span("questions")
  number = max(1, round(int(found["questions"]) * part))
  return text[:first] + str(number) + text[last:]


def choose_questions(dataset: Dataset, stage: Stage) -> np.ndarray:
  """Returns the numbers of the questions of a stage.

  Raises:
    ValueError: There are none of a name, or in scenes so small; or the split
      does not tell how many objects a scene has, as from pixels.
  """
  families, index = np.unique(dataset.family, return_inverse=True)
  kind = dataset.questions["question_type"]
  chosen = np.zeros(len(index), bool)
  for name in stage.names:
    of_name = np.isin(families, _families(families, name))[index]
    if not of_name.any() and name in QUESTION_TYPES:
      of_name = kind == list(QUESTION_TYPES).index(name)
    if not of_name.any():
      files = {template_file(family) for family in families} - {""}
      raise ValueError(
        f"config.data.curriculum names {name!r}, of which split "
        f"{dataset.split!r} has no questions; there are "
        f"{', '.join([*sorted(files), *QUESTION_TYPES, 'all'])}"
      )
    chosen |= of_name
  if stage.objects is not None:
    if "object_mask" not in dataset.scenes:
      raise ValueError(
        "config.data.curriculum can tell how many objects a scene has from "
        "states only: leave out 'up to ... objects'"
      )
    small = dataset.scenes["object_mask"].sum(-1) <= stage.objects
    chosen &= small[dataset.questions["scene"]]
    if not chosen.any():
      raise ValueError(
        "config.data.curriculum asks for scenes of up to "
        f"{stage.objects} objects, of which split {dataset.split!r} has none"
      )
  return np.flatnonzero(chosen)


def _families(families: np.ndarray, name: str) -> list[str]:
  """Returns the families that zero_hop, zero_hop/2, one_hop/0-3, all name."""
  if name == "all":
    return list(families)
  file, _, numbers = name.partition("/")
  of_file = [family for family in families if template_file(family) == file]
  if not numbers:
    return of_file
  first, _, last = numbers.partition("-")
  wanted = range(int(first), int(last or first) + 1)
  return [f"{file}/{n}" for n in wanted if f"{file}/{n}" in of_file]
