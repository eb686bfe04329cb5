"""Scores rankings of a database against a ground truth, query by query."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from rn_jax.host.progress import progress_bar
from rn_jax.retrieval.scene_graphs.ground_truth_file import GroundTruth
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs
from rn_jax.retrieval.scores import baselines, ranking

NDCG_KS = (5, 20)
RECALL_KS = (10, 100, 1000)
METRICS = (
  "rho",
  "rho_same_count",  # over the images with as many objects as the query
  "tau",
  *(f"ndcg@{k}" for k in NDCG_KS),
  *(f"recall@{k}" for k in RECALL_KS),
)
_BLOCK = 32  # queries scored together


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A way to rank the database.

  Attributes:
    label: Name in tables and pictures.
    kind: "sanity", "oracle" or "descriptor".
    vector: "as it is", "unit length", or "" where there is none.
    distances: From positions of Q queries to distances, [Q, D].
    source: Where it comes from, JSON values.
  """

  label: str
  kind: str
  vector: str
  distances: Callable[[np.ndarray], np.ndarray]
  source: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Scores:
  """Values per query: `metrics` by name, [Q], NaN where undefined.

  `curve` holds recall, [Q, K], at the k of `ks`.
  """

  metrics: dict[str, np.ndarray]
  ks: np.ndarray
  curve: np.ndarray


def of_vectors(
  label: str,
  vectors: np.ndarray,
  metric: str = "euclidean",
  kind: str = "descriptor",
  source: dict | None = None,
) -> list[Candidate]:
  """Makes candidates of a descriptor, as it is and at unit length.

  Args:
    label: Name.
    vectors: [D, N].
    metric: "euclidean"; or "cosine" (1 - cosine), where length is no matter.
    kind: See `Candidate`.
    source: See `Candidate`.
  """
  x = vectors.astype(np.float64)
  unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
  source = (source or {}) | {"size": x.shape[1], "metric": metric}
  if metric == "cosine":
    chosen = {"unit length": lambda queries: _tied(1 - unit[queries] @ unit.T)}
  else:
    chosen = {"as it is": _euclidean(x), "unit length": _euclidean(unit)}
  return [Candidate(label, kind, v, d, source) for v, d in chosen.items()]


def _euclidean(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
  squares = np.square(x).sum(axis=1)

  def distances(queries: np.ndarray) -> np.ndarray:
    squared = squares[queries, None] + squares - 2 * (x[queries] @ x.T)
    return np.sqrt(_tied(np.maximum(squared, 0)))

  return distances


def _tied(distances: np.ndarray) -> np.ndarray:
  """Makes equal what only rounding tells apart, row by row.

  At unit length, vectors with nothing in common are equally far, up to an error
  that depends on their norms: as an order, that would mean something.
  """
  grain = 1e-12 * np.abs(distances).max(axis=1, keepdims=True)
  return np.round(distances / np.maximum(grain, np.finfo(float).tiny)) * grain


def sanity_rows(scenes: SceneGraphs) -> list[Candidate]:
  """Makes the candidates that every figure should be read next to."""
  rows = of_vectors("random", baselines.random_descriptor(len(scenes)))
  known = {
    "object count": baselines.object_count,
    "object count difference": baselines.count_difference,
  }
  return [
    dataclasses.replace(rows[0], kind="sanity", vector=""),
    *(
      Candidate(label, "sanity", "", lambda q, rule=rule: rule(scenes, q))
      for label, rule in known.items()
    ),
  ]


def oracle_rows(scenes: SceneGraphs) -> list[Candidate]:
  """Makes candidates of histograms over the scene graphs."""
  histograms = {
    "attribute histogram": baselines.attribute_histogram,
    "object type histogram": baselines.type_histogram,
    "relation histogram": baselines.relation_histogram,
  }
  return [
    candidate
    for label, histogram in histograms.items()
    for candidate in of_vectors(label, histogram(scenes), kind="oracle")
  ]


def score(
  truth: GroundTruth, candidates: Sequence[Candidate]
) -> tuple[list[Scores], dict[str, float]]:
  """Scores candidates; each query is left out of its own ranking.

  Args:
    truth: The ground truth.
    candidates: What ranks its database.

  Returns:
    Scores of each candidate; and what a random ranking reaches on average, for
    those of METRICS that have such a level; NaN where it has none.
  """
  positions = truth.query_position
  size = len(truth.scenes) - 1
  ks = ranking.recall_grid(size)
  blocks = np.split(
    np.arange(len(positions)), range(_BLOCK, len(positions), _BLOCK)
  )
  results = [[] for _ in candidates]
  levels = []
  with progress_bar(
    total=len(positions) * len(candidates), desc=truth.name, unit=" rankings"
  ) as bar:
    for block in blocks:
      rows = _Rows(truth, block, positions[block], ks)
      levels.append(rows.random_levels())
      for candidate, result in zip(candidates, results, strict=True):
        result.append(rows.score(candidate))
        bar.update(len(block))
  scores = []
  for result in results:
    metrics, curves = zip(*result, strict=True)
    joined = {m: np.concatenate([b[m] for b in metrics]) for m in metrics[0]}
    scores.append(Scores(joined, ks, np.concatenate(curves)))
  expected = {
    m: ranking.mean_and_interval(np.concatenate([b[m] for b in levels]))[0]
    for m in levels[0]
  }
  return scores, expected


class _Rows:
  """Some queries of a ground truth, and what all candidates share for them."""

  def __init__(
    self,
    truth: GroundTruth,
    block: np.ndarray,
    positions: np.ndarray,
    ks: np.ndarray,
  ):
    self._positions, self._ks = positions, ks
    count = len(truth.scenes)
    others = np.arange(count - 1) + (
      np.arange(count - 1) >= positions[:, None]
    )  # [Q, D - 1]: all but the query
    self._others = others
    self._truth = np.take_along_axis(truth.distances[block], others, axis=1)
    self._ranking = ranking.rank(self._truth)
    self._gains = ranking.gains(self._truth)
    counts = truth.scenes.num_objects
    self._same_count = counts[others] == counts[positions, None]
    self._ndcg_ks = [k for k in NDCG_KS if k < count]
    self._recall_ks = [k for k in RECALL_KS if k < count]

  def random_levels(self) -> dict[str, np.ndarray]:
    size = len(self._positions)
    known = {name: np.zeros(size) for name in METRICS[:3]}
    for k in self._ndcg_ks:
      known[f"ndcg@{k}"] = ranking.random_ndcg(self._gains, k)
    for k in self._recall_ks:
      known[f"recall@{k}"] = np.full(size, k / self._truth.shape[1])
    return known

  def score(
    self, candidate: Candidate
  ) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the metrics, [Q] each, and the recall at all k, [Q, K]."""
    distances = candidate.distances(self._positions)
    distances = np.take_along_axis(distances, self._others, axis=1)
    found, truth = ranking.rank(distances), self._ranking
    ks = np.concatenate([self._ks, np.array(self._recall_ks, np.int64)])
    recall = ranking.recall(found.places, truth.places, ks)
    curve, recall = np.split(recall, [len(self._ks)], axis=1)
    metrics = {
      "rho": ranking.spearman(found.average, truth.average),
      "rho_same_count": ranking.spearman_within(
        found.levels, truth.levels, self._same_count
      ),
      "tau": ranking.kendall_tau(found.levels, truth.levels),
    }
    for k in self._ndcg_ks:
      metrics[f"ndcg@{k}"] = ranking.ndcg(found.places, self._gains, k)
    for k, column in zip(self._recall_ks, recall.T, strict=True):
      metrics[f"recall@{k}"] = column
    return metrics, curve
