"""An index in use: what is like an image, a file, or a vector."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from rn_jax.data.images import pixels_of
from rn_jax.data.states import read_objects, state_arrays
from rn_jax.host.paths import local_path
from rn_jax.retrieval.describe.extractor import Extractor, load_extractor
from rn_jax.retrieval.image_indices import is_index
from rn_jax.retrieval.nearest.index_files import (
  ImageIndex,
  ImageIndexError,
  check_dimension,
  check_fits,
  open_index,
)
from rn_jax.retrieval.nearest.search import nearest, prepare

Query = int | str | os.PathLike | Image.Image | Mapping
_DESCRIBED = (str, os.PathLike, Image.Image, Mapping)


@dataclasses.dataclass(frozen=True)
class Hit:
  """An image found.

  Attributes:
    rank: From 1.
    image_index: Its index.
    image_filename: Its name.
    path: Its file, where the index was made of files, else None.
    distance: Euclidean, or 1 - cosine.
  """

  rank: int
  image_index: int
  image_filename: str
  path: str | None
  distance: float


class LoadedIndex:
  """An index to search; made by `load_index`."""

  def __init__(self, files: ImageIndex, checkpoint: str | os.PathLike | None):
    self.files = files
    self._checkpoint = checkpoint
    self._metric = files.header["metric"]

  @property
  def inputs(self) -> str:
    """What its network reads of a file: "pixels" or "states".

    Raises:
      ImageIndexError: It was made of imported features.
      CheckpointError: The network cannot be loaded.
    """
    return self._extractor.config.model.inputs

  def like(self, images: Sequence[Query] | Query, k: int = 10) -> list[Hit]:
    """Finds the images most like the mean of some.

    Args:
      images: Indices of images in the index, files, Pillow images or scenes of
        CLEVR's scenes file, or a single one.
      k: How many to find.

    Returns:
      At most k, nearest first, none of which is one of `images`.

    Raises:
      ImageIndexError: There is no image of such an index, or the index was
        made with another network than the one at hand.
      CheckpointError: That network cannot be loaded.
      ValueError: A file is not readable, or there is no image, or `k` is not
        at least 1.
      OSError: A file cannot be opened.
    """
    single = is_index(images) or isinstance(images, _DESCRIBED)
    asked: list[Any] = [images] if single else [*cast(Sequence, images)]
    numbers = [image for image in asked if is_index(image)]
    described = [image for image in asked if not is_index(image)]
    for image in described:
      if not isinstance(image, _DESCRIBED):
        raise ValueError(f"{image!r} is neither an image index nor a file")
    paths = [x for x in described if isinstance(x, str | os.PathLike)]
    for path in paths:
      if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; name image files")
    if not asked:
      raise ValueError("name at least one image to find others like it")
    rows = self._rows_of(numbers)
    vectors = self.files.vectors.reconstruct_batch(rows)
    if described:
      made = prepare(self._describe(described), self._metric)
      vectors = np.concatenate([vectors, made])
      rows = np.concatenate([rows, *map(self._rows_made_of, paths)])
    return self.search(vectors.mean(0)[None], k, [rows])[0]

  def search(
    self,
    vectors: np.ndarray,
    k: int = 10,
    excluded: Sequence[Sequence[int] | np.ndarray] | None = None,
  ) -> list[list[Hit]]:
    """Finds the images nearest to each of some vectors.

    Args:
      vectors: [Q, D].
      k: How many to find for each.
      excluded: Rows of the index not to find, for each vector.

    Raises:
      ImageIndexError: The vectors are of another length than the index's.
      ValueError: They are no finite numbers [Q, D], or `k` is not at least 1.
    """
    queries = prepare(vectors, self._metric)
    check_dimension(self.files, queries)
    if not is_index(k) or k < 1:
      raise ValueError(f"k is {k!r}, not a whole number from 1")
    if excluded is not None and len(excluded) != len(queries):
      raise ValueError(
        f"there are {len(queries)} vectors and {len(excluded)} lists of rows "
        "that are excluded"
      )
    k = min(int(k), len(self.files))
    found = nearest(self.files.vectors, self._metric, queries, k, excluded)
    return [
      [
        self._hit(rank, row, distance)
        for rank, (row, distance) in enumerate(zip(*pair, strict=True), 1)
        if row >= 0
      ]
      for pair in zip(*found, strict=True)
    ]

  def _hit(self, rank: int, row: int, distance: float) -> Hit:
    name = str(self.files.image_filename[row])
    folder = self.files.header["sources"][self.files.source[row]].get("folder")
    return Hit(
      rank=rank,
      image_index=int(self.files.image_index[row]),
      image_filename=name,
      path=folder and str(Path(folder, name)),
      distance=float(distance),
    )

  def _rows_of(self, image_index: Sequence[int]) -> np.ndarray:
    known = self.files.image_index
    rows = []
    for number in image_index:
      row = np.flatnonzero(known == number)
      if not len(row):
        raise ImageIndexError(
          f"{self.files.folder}: there is no image {number} in it; its images "
          f"are numbered from {known.min()} to {known.max()}"
        )
      rows.append(row[0])
    return np.array(rows, np.int64)

  def _rows_made_of(self, path: str | os.PathLike) -> np.ndarray:
    """Returns the rows that were made of a file; usually one or none."""
    same = np.zeros(len(self.files), bool)
    for place, description in enumerate(self.files.header["sources"]):
      if "folder" not in description:
        continue
      # A picture may be a link, and the folder be reached through one.
      for real in os.path.abspath, os.path.realpath:
        name = os.path.relpath(
          real(local_path(path)), real(description["folder"])
        )
        same |= (self.files.source == place) & (
          self.files.image_filename == Path(name).as_posix()
        )
    return np.flatnonzero(same)

  @functools.cached_property
  def _extractor(self) -> Extractor:
    header = self.files.header
    if header["network"] is None:
      raise ImageIndexError(
        f"{self.files.folder} was made of imported features: it can be asked "
        "for images like its own, not for images like a file"
      )
    name = header["descriptor"]["name"]
    path = self._checkpoint or header["network"]["checkpoint"]
    settings = header["network"].get("overrides")
    extractor = load_extractor(path, [name], settings)
    check_fits(self.files, extractor.metadata, name)
    return extractor

  def _describe(self, images: Sequence) -> np.ndarray:
    """Returns the vectors of files, Pillow images or scenes, [Q, D]."""
    config = self._extractor.config
    if config.model.inputs == "pixels":
      size = config.data.image_size
      scenes = {"image": np.stack([pixels_of(x, size) for x in images])}
    else:
      rows = [read_objects(x, config.data.max_objects) for x in images]
      scenes = state_arrays(np.stack(rows))
    return self._extractor(scenes, batch_size=len(images))[
      self.files.header["descriptor"]["name"]
    ]


def load_index(
  path: str | os.PathLike, checkpoint: str | os.PathLike | None = None
) -> LoadedIndex:
  """Loads an index to search.

  Args:
    path: The index.
    checkpoint: The network it was made with, to describe image files; None:
      where it was then.

  Raises:
    ImageIndexError: There is no index, or it is damaged.
    PermissionError: It may not be read.
  """
  return LoadedIndex(open_index(path), checkpoint)
