"""Scenes to ask a file's questions about that are in no records."""

import os
from collections.abc import Iterator, Sequence
from concurrent import futures

import ml_collections
import numpy as np

from rn_jax.data.clevr_json import SourceError, read_elements
from rn_jax.data.dataset import Dataset
from rn_jax.data.decode import roomy_length
from rn_jax.data.image_files import find_image_files
from rn_jax.data.images import read_image
from rn_jax.data.own_questions import OwnQuestions, read_questions
from rn_jax.data.scene_names import SceneNames
from rn_jax.data.states import read_objects, state_arrays, warn_of_boxes
from rn_jax.host.paths import local_paths
from rn_jax.host.progress import progress_bar


def ask_files(
  own: OwnQuestions,
  config: ml_collections.ConfigDict,
  inputs: str,
  vocabulary: dict[str, dict[str, int]],
) -> Dataset:
  """Reads questions and those of the given scenes that they are about.

  Args:
    own: What to ask, and about which `images`: of a network from pixels image
      files and folders, of one from states CLEVR scenes files.
    config: The `data` part of a config.
    inputs: "pixels" or "states".
    vocabulary: Of the network.

  Raises:
    QuestionFileError: The file of questions is unusable, or a question of it.
    ValueError: A scene is unusable, or there is none.
    OSError: A file cannot be opened.
  """
  if inputs == "pixels":
    files = find_image_files(own.images)
    found, indices = files.names, None

    def read(rows: np.ndarray) -> dict[str, np.ndarray]:
      paths = [files.paths[row] for row in rows]
      return {"image": _read_images(paths, config.image_size)}

  else:
    warn_of_boxes(config)
    found, indices, objects = _read_scenes(own.images, config.max_objects)

    def read(rows: np.ndarray) -> dict[str, np.ndarray]:
      return state_arrays(objects[rows])

  names = SceneNames(
    found, None if indices is None else lambda: indices, ", ".join(own.images)
  )
  most = config.max_question_length
  asked = read_questions(own, names, vocabulary, config)
  used, scene = np.unique(asked.numbers["scene"], return_inverse=True)
  asked.numbers["scene"] = scene.astype(np.int32)
  return Dataset(
    scenes=read(used),
    image_filename=np.array([found[row] for row in used]),
    vocabulary=vocabulary,
    sha256="",
    **asked.fields("images", most or roomy_length(asked.longest, None)),
  )


def _read_images(paths: Sequence[str], size: int) -> np.ndarray:
  """Reads image files on all cores, [S, size, size, 3] uint8."""
  images = np.empty((len(paths), size, size, 3), np.uint8)

  def read(row: int) -> None:
    images[row] = read_image(paths[row], size)

  with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    done = pool.map(read, range(len(paths)))
    list(progress_bar(done, total=len(paths), desc="reading", unit=" images"))
  return images


def _read_scenes(
  images: Sequence[str], max_objects: int
) -> tuple[list[str], list[int | None], np.ndarray]:
  """Reads scenes files: names, indices and state descriptions [S, N, 7]."""
  names, indices, rows = [], [], []
  for path in local_paths(images):
    for number, scene in enumerate(_elements(path)):
      where = f"{path}: scene {number}"
      name, index = scene.get("image_filename"), scene.get("image_index")
      if not isinstance(name, str):
        raise ValueError(f"{where} has no image_filename; add it")
      names.append(name)
      indices.append(index if type(index) is int else None)
      rows.append(read_objects(scene, max_objects, where))
  return names, indices, np.stack(rows)


def _elements(path: str) -> Iterator[dict]:
  wanted = "this network reads state descriptions: give a CLEVR scenes file"
  if not os.path.isfile(path):
    raise ValueError(f"{path}: no file; {wanted}, --images=FILE")
  try:
    yield from read_elements(path, "scenes")
  except SourceError as error:
    raise ValueError(f"{error}; {wanted}, --images=FILE") from None
