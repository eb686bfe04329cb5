"""The images of an index that are most like what is asked about."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging
from PIL import Image

from rn_jax.demo.subjects import Subject
from rn_jax.retrieval.describe.features import Features, file_name
from rn_jax.retrieval.nearest.loaded_index import Hit, LoadedIndex, load_index
from rn_jax.retrieval.pages.thumbnails import load_pictures
from rn_jax.retrieval.scene_graphs.explanation import explain_pair
from rn_jax.retrieval.scene_graphs.scene_graph import (
  SceneError,
  SceneGraphs,
  load_scenes,
  scene_graphs,
)

NUM_HITS = 6


class Alike(NamedTuple):
  """An image that was found.

  Attributes:
    name: Of its file, without folders.
    distance: Of the descriptors.
    picture: None: it cannot be read any more.
    explained: See scene_graphs.explanation; None: a scene is not known.
  """

  name: str
  distance: float
  picture: Image.Image | None
  explained: dict | None


def open_similar(
  index: str | os.PathLike, scenes: str | os.PathLike | None = None
) -> Callable[[Subject], list[Alike] | None]:
  """Opens an index, and loads its network.

  Args:
    index: The index.
    scenes: Scenes file of its images, to say what differs. Not given: the
      records that the index was made of, if it was.

  Returns:
    Finds the images most like a subject; None where the index's network reads
    another kind.

  Raises:
    ValueError: The index, its network or the scenes are unusable.
    OSError: A file cannot be opened.
  """
  loaded = load_index(index)
  inputs = loaded.inputs  # loads the network, so that errors come now
  graphs = scenes_of(loaded, scenes)

  def find(subject: Subject) -> list[Alike] | None:
    asked = subject.of_kind(inputs)
    if asked is None:
      return None
    hits = loaded.like(asked, NUM_HITS)
    pictures = _pictures(loaded, hits)
    return [
      Alike(
        file_name(hit.image_filename),
        hit.distance,
        pictures.get(_row(loaded, hit)),
        _explained(subject, loaded, hit, graphs),
      )
      for hit in hits
    ]

  return find


def scenes_of(
  loaded: LoadedIndex, scenes: str | os.PathLike | None
) -> dict[tuple[int, str], SceneGraphs]:
  """Returns the scenes of images by number of the source and file name."""
  files = loaded.files
  if scenes is not None:
    graphs = load_scenes(scenes)
    at = {str(name): i for i, name in enumerate(graphs.image_filename)}
    names = list(map(file_name, files.image_filename))
    places = Counter(names)  # of two that are called alike, which is it?
    return {
      (int(source), name): graphs[[at[name]]]
      for source, name in zip(files.source, names, strict=True)
      if name in at and places[name] == 1
    }
  found = {}
  for number, source in enumerate(files.header["sources"]):
    if "records" not in source:
      continue
    try:
      graphs = load_scenes(records_dir=source["records"], split=source["split"])
    except (ValueError, OSError) as error:
      logging.warning("What differs is not shown: %s", error)
      continue
    for i, name in enumerate(graphs.image_filename):
      found[number, str(name)] = graphs[[i]]
  return found


def _explained(
  subject: Subject,
  loaded: LoadedIndex,
  hit: Hit,
  graphs: dict[tuple[int, str], SceneGraphs],
) -> dict | None:
  source = int(loaded.files.source[_row(loaded, hit)])
  other = graphs.get((source, file_name(hit.image_filename)))
  if subject.scene is None or other is None:
    return None
  try:
    return explain_pair(scene_graphs([subject.scene]), other)
  except SceneError:  # An upload may have objects beside each other.
    return None


def _pictures(
  loaded: LoadedIndex, hits: Sequence[Hit]
) -> dict[int, Image.Image]:
  """Returns the pictures of hits by row, those that can be shown.

  Records are read from their beginning, so those of a source are read together.
  """
  files, found = loaded.files, {}
  rows = np.array([_row(loaded, hit) for hit in hits], np.int64)
  for number in np.unique(files.source[rows]):
    features = Features(
      {},
      files.image_index,
      files.image_filename,
      {"source": files.header["sources"][number]},
    )
    wanted = rows[files.source[rows] == number].tolist()
    try:
      found |= load_pictures(features, wanted)
    except (ValueError, OSError) as error:
      logging.warning("Pictures of hits are not shown: %s", error)
  return found


def _row(loaded: LoadedIndex, hit: Hit) -> int:
  (row,) = np.flatnonzero(loaded.files.image_index == hit.image_index)
  return int(row)
