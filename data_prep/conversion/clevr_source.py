"""Reads the scenes and questions of a split of a CLEVR folder.

One pass over the JSON files keeps what the records need; images are opened
later, by whichever process writes the record (scene_record.py).
"""

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import logging

from data_prep.annotation.reading import path_of, read_annotations
from data_prep.conversion.clevr_question import Question, read_question
from data_prep.conversion.growing_vocabulary import Vocabulary
from data_prep.conversion.image_folder import find_images
from data_prep.conversion.oddities import Oddities, note
from data_prep.conversion.properties import learn_world
from data_prep.generation.picture_mark import check_pictures
from rn_jax.clevr import DIRECTIONS
from rn_jax.data.clevr_json import SourceError, read_elements
from rn_jax.host.paths import place


class Source(NamedTuple):
  """One scene to convert."""

  image_filename: str
  image_index: int
  image_path: str | None
  scene: str | None  # its JSON; None where scenes are not published
  questions: list[Question]
  where: str = "a scene"  # what errors call it
  properties: str = "null"  # the scene's, as JSON


class Split(NamedTuple):
  """One split to convert."""

  sources: Sequence  # of Source, or of what else builds the records
  has_images: bool
  fingerprints: dict[str, str]  # of the files that the sources came from
  oddities: Oddities  # that were found on the way


def load_split(
  clevr_dir: str | os.PathLike,
  split: str,
  vocabulary: Vocabulary,
  images: str = "auto",
  skip_missing: bool = False,
  annotations: bool = False,
) -> Split:
  """Reads the scenes and questions of a split.

  Args:
    clevr_dir: Folder with `scenes/`, `questions/` and maybe `images/`.
    split: Name of the split as in the file names.
    vocabulary: Gives the indices of words and answers; may grow.
    images: "yes", "no", "auto": yes where there is an images folder; or
      "drawn": yes, but not from files.
    skip_missing: Leave scenes out whose image is not there, and their
      questions. They are counted among the oddities.
    annotations: Take along what `annotations/` says of the objects.

  Raises:
    SourceError: Files are missing, broken, or contradict each other; or the
      vocabulary is frozen and a word or an answer is not in it.
  """
  clevr_dir = place(clevr_dir)
  scenes_path = clevr_dir / "scenes" / f"CLEVR_{split}_scenes.json"
  questions_path = clevr_dir / "questions" / f"CLEVR_{split}_questions.json"
  image_dir = clevr_dir / "images" / split
  has_images = images in ("yes", "drawn") or (
    images == "auto" and image_dir.parent.is_dir()
  )
  digests = {"questions": hashlib.sha256()}
  sources = {}
  oddities: Oddities = {}
  has_scenes = scenes_path.exists()
  if has_scenes:
    digests["scenes"] = hashlib.sha256()
    sources = read_scenes(scenes_path, digests["scenes"], split, oddities)
    properties = {source.properties for source in sources.values()}
    world = learn_world(properties, scenes_path, vocabulary)
    if world.new_values and not has_images:
      raise SourceError(
        f"{scenes_path}: its objects can be what CLEVR's cannot. Networks on"
        " state descriptions do not know that, so records of it need images:"
        " draw them (data_prep.render), and convert with --images=yes"
      )
    if annotations:
      digests["annotations"] = hashlib.sha256()
      _add_annotations(
        sources,
        path_of(clevr_dir, split),
        digests["scenes"].hexdigest(),
        digests["annotations"],
      )
  elif not has_images:
    raise SourceError(
      f"{scenes_path}: no such file, and no images are converted either, so"
      " nothing would describe the scenes"
    )

  indices = []
  questions = read_elements(questions_path, "questions", digests["questions"])
  for number, element in enumerate(questions):
    where = f"{questions_path}: question {number}"
    index, filename = _identity(element, where)
    indices.append(element.get("question_index"))
    question = read_question(element, number, vocabulary, where)
    if element.get("split", split) != split:
      note(oddities, "other_split", f"question {number}")
    if element.get("program") and question.function < 0:
      note(oddities, "program", f"question {number}")
    if index not in sources:
      if has_scenes:
        raise SourceError(
          f"{where} is about image_index {index}, which {scenes_path} does not"
          " have; scenes and questions belong to different data sets"
        )
      if question.answer >= 0:
        raise SourceError(
          f"{scenes_path}: no such file, but {where} has an answer, so this is"
          " no test split; add the scenes file"
        )
      sources[index] = Source(filename, index, None, None, [])
    if sources[index].image_filename != filename:
      raise SourceError(
        f"{where} is about image_index {index} with file {filename}, but that"
        f" scene's file is {sources[index].image_filename}; scenes and"
        " questions belong to different data sets"
      )
    sources[index].questions.append(question)

  _take_indices(sources, indices, questions_path)
  fingerprints = {name: d.hexdigest() for name, d in digests.items()}
  result = list(sources.values())
  if has_images and images != "drawn":
    check_pictures(
      clevr_dir,
      split,
      scenes_path if has_scenes else questions_path,
      fingerprints.get("scenes"),
    )
    names = [source.image_filename for source in result]
    paths, fingerprints["images"] = find_images(
      names, image_dir, oddities if skip_missing else None
    )
    result = [
      source._replace(image_path=paths[source.image_filename])
      for source in result
      if source.image_filename in paths
    ]
  return Split(result, has_images, fingerprints, oddities)


def _identity(element: dict, where: str) -> tuple[int, str]:
  index, filename = element.get("image_index"), element.get("image_filename")
  if type(index) is not int or not isinstance(filename, str):
    raise SourceError(f"{where} has no image_index and image_filename")
  if not 0 <= index < 2**63:
    raise SourceError(f"{where} has the image_index {index}")
  return index, filename


def read_scenes(
  path: Path, digest, split: str, oddities: Oddities
) -> dict[int, Source]:
  """Reads a scenes file: the scenes by image_index, without questions.

  Args:
    path: CLEVR_<split>_scenes.json.
    digest: Hash object that is fed the whole file.
    split: Name of the split.
    oddities: Gets those of these scenes added.

  Raises:
    SourceError: The file is missing or broken, or scenes are not told apart.
  """
  sources, numbers = {}, {}
  for number, element in enumerate(read_elements(path, "scenes", digest)):
    where = f"{path}: scene {number}"
    index, filename = _identity(element, where)
    for key in (index, filename):
      if key in numbers:
        raise SourceError(
          f"{where} repeats {key!r} of scene {numbers[key]}; image_index and"
          " image_filename must be unique"
        )
      numbers[key] = number
    if element.get("split", split) != split:
      note(oddities, "other_split", f"scene {number} ({filename})")
    scene = {name: element.get(name) for name in ("objects", "relationships")}
    # What drawing needs, and what relations follow from. CLEVR has no camera
    # and lamps, and these directions.
    for name in ("camera", "lamps", "background", "directions", "properties"):
      if name in element and element[name] != DIRECTIONS:
        scene[name] = element[name]
    text = json.dumps(scene)
    properties = json.dumps(scene.get("properties"))
    sources[index] = Source(filename, index, None, text, [], where, properties)
  return sources


def _add_annotations(
  sources: dict[int, Source], path: Path, scenes_sha256: str, digest
) -> None:
  """Adds to the scenes what the annotations file says of their objects."""
  found = read_annotations(path, scenes_sha256, digest)
  for index, source in sources.items():
    scene = json.loads(source.scene or "{}")
    scene["annotations"] = found.get(index, [])
    sources[index] = source._replace(scene=json.dumps(scene))


def _take_indices(
  sources: dict[int, Source], indices: list, path: Path
) -> None:
  """Gives questions the indices that their file does, where it counts them.

  A part of a data set, or one with gaps, keeps its numbers. Predictions are
  sorted by them and must come in the order of the file, so they must rise.
  """
  if all(index is None for index in indices):
    return  # the positions do
  rise = all(type(i) is int and 0 <= i < 2**31 for i in indices) and all(
    a < b for a, b in itertools.pairwise(indices)
  )
  if not rise:
    logging.warning(
      "%s: question_index is not a whole number that rises from question to "
      "question; predictions number the questions by their place in the file, "
      "from 0",
      path,
    )
    return
  for source in sources.values():
    source.questions[:] = [
      question._replace(question_index=indices[question.question_index])
      for question in source.questions
    ]
