"""What descriptors find, side by side with the ground truth."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from rn_jax.retrieval.describe.features import (
  Features,
  FeaturesError,
  choose_descriptors,
  file_name,
)
from rn_jax.retrieval.image_indices import image_indices
from rn_jax.retrieval.nearest.search import make_index, nearest, prepare
from rn_jax.retrieval.scene_graphs.ground_truth_file import GroundTruth


@dataclasses.dataclass(frozen=True)
class Tile:
  """One result.

  Attributes:
    image: Its number among the pictures.
    name: Of its file.
    distance: To the query.
    hit: Whether a descriptor found what is among the nearest by the ground
      truth, too.
  """

  image: int
  name: str
  distance: float
  hit: bool


@dataclasses.dataclass(frozen=True)
class Row:
  """What one descriptor, or the ground truth, finds; nearest first."""

  label: str
  tiles: list[Tile]


@dataclasses.dataclass(frozen=True)
class Sheet:
  """One query.

  Attributes:
    image: Its number among the pictures.
    image_index: Its image index.
    name: Of its file.
    rows: The ground truth first, if there is one.
  """

  image: int
  image_index: int
  name: str
  rows: list[Row]


def compare(
  features: Sequence[Features],
  queries: Sequence[int],
  k: int = 10,
  *,
  descriptors: Sequence[str] = (),
  truth: GroundTruth | None = None,
) -> list[Sheet]:
  """Finds the nearest images of each query by every descriptor.

  Args:
    features: Of the same images; Sheet.image and Tile.image are rows of the
      first.
    queries: Image indices.
    k: How many images to find.
    descriptors: Names; empty: all.
    truth: Its scenes are the database; None: the images of the first features.

  Raises:
    FeaturesError: The features lack an image or a descriptor, or number the
      images differently.
    ValueError: A query is none of the ground truth's.
  """
  queries = image_indices(queries)
  if not queries or k < 1 or not features:
    raise ValueError("features, a query and at least one neighbour are needed")
  chosen = choose_descriptors(features, descriptors)
  if truth is None:
    at = features[0].rows_of(queries)
    rows = [f.rows_of(features[0].image_index) for f in features]
    _check_same(features, rows)
    hits = np.zeros((len(queries), len(features[0])), bool)
  else:
    at = truth.scenes.positions(queries)
    names = truth.scenes.image_filename.tolist()
    rows = [f.rows_of_files(names) for f in features]
    truth_rows = _truth_rows(truth, queries)
    hits, best = _nearest_by(truth.distances[truth_rows], at, k)
  filenames = features[0].image_filename[rows[0]]

  def row(label: str, found: np.ndarray, distance: np.ndarray, hits) -> Row:
    tiles = [
      Tile(int(rows[0][p]), str(filenames[p]), float(d), bool(hits[p]))
      for p, d in zip(found, distance, strict=True)
      if p >= 0
    ]
    return Row(label, tiles)

  sheets = [
    Sheet(int(rows[0][p]), q, str(filenames[p]), [])
    for q, p in zip(queries, at, strict=True)
  ]
  if truth is not None:
    # Hits all of them, which frames would not make clearer.
    plain = np.zeros(len(truth.scenes), bool)
    label = f"Ground truth {truth.name}"
    for sheet, i, found in zip(sheets, truth_rows, best, strict=True):
      distance = truth.distances[i, found]
      sheet.rows.append(row(label, found, distance, plain))
  for number, name in chosen:
    f = features[number]
    metric = f.about(name).get("metric", "euclidean")
    x = prepare(f.descriptors[name][rows[number]], metric)
    found, distance = nearest(make_index(x), metric, x[at], k, at[:, None])
    for i, sheet in enumerate(sheets):
      label = _label(features, f, name)
      sheet.rows.append(row(label, found[i], distance[i], hits[i]))
  return sheets


def _check_same(
  features: Sequence[Features], rows: Sequence[np.ndarray]
) -> None:
  """Raises FeaturesError unless the rows of all are of the same files."""
  first, *others = (
    list(map(file_name, f.image_filename[at]))
    for f, at in zip(features, rows, strict=True)
  )
  for names in others:
    for index, mine, theirs in zip(
      features[0].image_index, first, names, strict=True
    ):
      if mine != theirs:
        raise FeaturesError(
          f"image {index} is {mine} in the first features and {theirs} in "
          "others; describe the same images with both networks"
        )


def _label(features: Sequence[Features], one: Features, name: str) -> str:
  label = one.label(name)
  same = sum(label == f.label(n) for f in features for n in f.descriptors)
  if same == 1:
    return label
  network = one.metadata.get("network") or {}
  return f"{label}, {network.get('name', 'imported')}"


def _truth_rows(truth: GroundTruth, queries: Sequence[int]) -> list[int]:
  """Returns the row of each query in the ground truth's distances."""
  row_of = {int(q): row for row, q in enumerate(truth.query_index)}
  if missing := [q for q in queries if q not in row_of]:
    raise ValueError(
      f"image {missing[0]} is no query of the ground truth; its queries are "
      f"{', '.join(map(str, truth.query_index[:10]))}"
      f"{', ...' if len(truth.query_index) > 10 else ''}"
    )
  return [row_of[q] for q in queries]


def _nearest_by(
  distances: np.ndarray, at: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns which images are hits [Q, N] bool, and the k nearest [Q, <= k].

  Args:
    distances: Of the queries to the database, [Q, N].
    at: Where the queries are in the database, [Q].
    k: How many images count; those as near as the k-th are hits, too.
  """
  distances = distances.copy()
  distances[np.arange(len(at)), at] = np.inf  # not itself
  k = min(k, distances.shape[1] - 1)
  best = np.argsort(distances, axis=1, kind="stable")[:, :k]
  last = np.take_along_axis(distances, best[:, -1:], 1)
  return distances <= last, best
