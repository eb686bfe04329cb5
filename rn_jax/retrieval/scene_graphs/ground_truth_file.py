"""Ground-truth files: distances of queries to the scenes of a database.

    from rn_jax.retrieval.scene_graphs import ground_truth_file

    truth = ground_truth_file.load_ground_truth("v2_soft.npz")
    truth.distances  # float32 [Q, D], row i of the image truth.query_index[i]

The file holds the scene graphs of the database too: what compares rankings, or
explains a distance, needs no other file. Reading it never runs anything.
"""

import dataclasses
import os
from importlib import metadata

import numpy as np

import rn_jax
from rn_jax.retrieval.describe.archive import (
  ArchiveError,
  read_archive,
  write_archive,
)
from rn_jax.retrieval.scene_graphs.scene_graph import SceneError, SceneGraphs

FORMAT_VERSION = 1
_SCENES = [field.name for field in dataclasses.fields(SceneGraphs)]


class GroundTruthError(ValueError):
  """A ground-truth file is damaged, or not made from what was asked for."""


@dataclasses.dataclass(frozen=True)
class GroundTruth:
  """Distances of Q queries to D scenes.

  Attributes:
    distances: float32 [Q, D], finite, 0 or more.
    query_index: int64 [Q], image indices of the queries; they are in the
      database, so a query's distance to itself is among its distances.
    scenes: The D scenes.
    metadata: JSON values: `method`, `match`, `quirk`, `tie_break`,
      `scenes_sha256`, `versions`.
  """

  distances: np.ndarray
  query_index: np.ndarray
  scenes: SceneGraphs
  metadata: dict

  @property
  def name(self) -> str:
    """The rule, such as "v2 soft"."""
    words = [self.metadata["method"], self.metadata["match"]]
    options = ("quirk", "tie_break", "imported")
    words += [f"({o})" for o in options if self.metadata.get(o)]
    return " ".join(words).replace("_", " ")

  @property
  def query_position(self) -> np.ndarray:
    """Where the queries are in the database, int64 [Q]."""
    return self.scenes.positions(self.query_index)


def describe(
  scenes: SceneGraphs,
  method: str,
  match: str,
  quirk: bool = False,
  tie_break: bool = False,
) -> dict:
  """Returns the metadata of distances that are computed here and now."""
  versions = {name: metadata.version(name) for name in ("numpy", "scipy")}
  return {
    "method": method,
    "match": match,
    "quirk": quirk,
    "tie_break": tie_break,
    "scenes_sha256": scenes.sha256(),
    "versions": {"rn_jax": rn_jax.__version__, **versions},
  }


def save_ground_truth(path: str | os.PathLike, truth: GroundTruth) -> None:
  """Writes a ground-truth file, whole or not at all.

  Raises:
    GroundTruthError: The arrays do not fit together, or a distance is missing.
  """
  _check(truth, str(path))
  write_archive(
    path,
    {"format_version": FORMAT_VERSION, **truth.metadata},
    {
      "distances": truth.distances,
      "query_index": truth.query_index,
      **{name: getattr(truth.scenes, name) for name in _SCENES},
    },
  )


def load_ground_truth(path: str | os.PathLike) -> GroundTruth:
  """Reads a ground-truth file.

  Raises:
    GroundTruthError: It is none, is damaged, or of another version.
    OSError: It cannot be opened.
  """
  try:
    arrays, header = read_archive(path)
  except ArchiveError as error:
    raise GroundTruthError(
      f"{path}: no ground-truth file, or damaged ({error}); compute it again"
    ) from error
  version = header.pop("format_version", None)
  if version != FORMAT_VERSION:
    raise GroundTruthError(
      f"{path}: format version {version}, this program reads {FORMAT_VERSION}"
    )
  try:
    scenes = SceneGraphs(*(arrays[name] for name in _SCENES))
    truth = GroundTruth(
      arrays["distances"], arrays["query_index"], scenes, header
    )
    _check(truth, str(path))
  except GroundTruthError:
    raise
  except KeyError as error:
    raise GroundTruthError(f"{path}: no ground-truth file ({error})") from None
  except (AttributeError, IndexError, TypeError, ValueError) as error:
    raise GroundTruthError(
      f"{path}: its arrays do not fit together ({error}); compute it again"
    ) from None
  return truth


def _check(truth: GroundTruth, path: str) -> None:
  distances, scenes = truth.distances, truth.scenes
  shape = len(truth.query_index), len(scenes)
  if distances.dtype != np.float32 or distances.shape != shape or not shape[0]:
    raise GroundTruthError(
      f"{path}: distances are {distances.dtype} {list(distances.shape)}, not "
      f"float32 {list(shape)}"
    )
  wrong = ~(np.isfinite(distances) & (distances >= 0))
  if wrong.any():
    query, other = np.argwhere(wrong)[0]
    raise GroundTruthError(
      f"{path}: {wrong.sum()} distances are missing, the first of image "
      f"{truth.query_index[query]} to {scenes.image_index[other]}"
    )
  try:
    positions = truth.query_position
  except SceneError as error:
    raise GroundTruthError(f"{path}: a query is missing: {error}") from None
  if len(set(positions.tolist())) < len(positions):
    raise GroundTruthError(f"{path}: an image is a query twice")
  if scenes.sha256() != truth.metadata.get("scenes_sha256"):
    raise GroundTruthError(
      f"{path}: the scenes are not those the distances were computed from; "
      "compute the file again"
    )
