"""What descriptors find, side by side with the ground truth."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from rn_jax.retrieval.describe.features import Features, FeaturesError
from rn_jax.retrieval.evaluate import rows_of_scenes
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
    FeaturesError: The features lack an image or a descriptor.
    ValueError: A query is none of the ground truth's.
  """
  names = dict.fromkeys(name for f in features for name in f.descriptors)
  unknown = [name for name in descriptors if name not in names]
  if unknown:
    raise FeaturesError(
      f"no descriptor {unknown[0]!r} here; there are: {', '.join(names)}"
    )
  rows = [_database(f, features[0], truth) for f in features]
  filenames = features[0].image_filename[rows[0]]
  index = truth.scenes.image_index if truth else features[0].image_index
  position = {int(number): i for i, number in enumerate(index)}
  if missing := [q for q in queries if q not in position]:
    raise FeaturesError(
      f"no image {missing[0]} here; there are {len(index)} from {index.min()} "
      f"to {index.max()}"
    )
  at = np.array([position[q] for q in queries])
  hits, best = _truth_rows(truth, queries, at, len(index), k)

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
    for i, sheet in enumerate(sheets):
      distance = truth.distances[_truth_row(truth, queries[i]), best[i]]
      # Hits all of them, which frames would not make clearer.
      plain = np.zeros(len(index), bool)
      label = f"Ground truth {truth.name}"
      sheet.rows.append(row(label, best[i], distance, plain))
  for f, order in zip(features, rows, strict=True):
    for name in f.descriptors:
      if descriptors and name not in descriptors:
        continue
      metric = f.about(name).get("metric", "euclidean")
      x = prepare(f.descriptors[name][order], metric)
      found, distance = nearest(make_index(x), metric, x[at], k, at[:, None])
      for i, sheet in enumerate(sheets):
        label = _label(features, f, name)
        sheet.rows.append(row(label, found[i], distance[i], hits[i]))
  return sheets


def _label(features: Sequence[Features], one: Features, name: str) -> str:
  label = one.label(name)
  same = sum(label == f.label(n) for f in features for n in f.descriptors)
  if same == 1:
    return label
  network = one.metadata.get("network") or {}
  return f"{label}, {network.get('name', 'imported')}"


def _database(
  features: Features, first: Features, truth: GroundTruth | None
) -> np.ndarray:
  """Returns the rows of the images that are searched, in a common order."""
  if truth is not None:
    return rows_of_scenes(features, truth.scenes, "features")
  return features.rows_of(first.image_index)


def _truth_row(truth: GroundTruth, query: int) -> int:
  row = np.flatnonzero(truth.query_index == query)
  if not len(row):
    raise ValueError(
      f"image {query} is no query of the ground truth; its queries are "
      f"{', '.join(map(str, truth.query_index[:10]))}"
      f"{', ...' if len(truth.query_index) > 10 else ''}"
    )
  return int(row[0])


def _truth_rows(
  truth: GroundTruth | None,
  queries: Sequence[int],
  at: np.ndarray,
  count: int,
  k: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns which images are hits [Q, N] bool, and the k nearest [Q, <= k]."""
  if truth is None:
    return np.zeros((len(queries), count), bool), np.zeros((0, 0), int)
  rows = [_truth_row(truth, q) for q in queries]
  distances = truth.distances[rows].copy()
  distances[np.arange(len(at)), at] = np.inf  # not itself
  k = min(k, distances.shape[1] - 1)
  best = np.argsort(distances, axis=1, kind="stable")[:, :k]
  last = np.take_along_axis(distances, best[:, -1:], 1)
  return distances <= last, best
