"""Approximate graph edit distances of scene graphs, by one assignment a pair.

Two rules, both for total orders (see scene_graph.py):

* v2 (Riesen and Bunke 2009, with local edge structure): matching two objects
  costs what their attributes differ by, and what it takes to turn the
  relations that lead away from one into those of the other; inserting or
  deleting an object costs 2. The distance is that of the cheapest assignment.
* v1: objects are assigned by their attributes alone, then every relation that
  the assignment inverts costs 1. Where several assignments are equally cheap
  the solver's choice decides, so v1 depends on the order of the objects and on
  the version of SciPy.

Every function compares one scene with many, which lie in arrays [D, M, ...];
only solving the assignment is done pair by pair.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs

MATCHES = ("soft", "hard")
INSERTION = 2.0  # of an object in v2, with its relations; deletion alike
_FORBIDDEN_V1, _TIE_BREAK = 5.0, 1e-5
_UNSOLVABLE = 1000.0  # of v2's quirk


def node_costs(a: np.ndarray, b: np.ndarray, match: str) -> np.ndarray:
  """Costs of turning objects into each other.

  Args:
    a: Attributes of one scene, [N, 4].
    b: Attributes of others, [D, M, 4].
    match: "soft": a quarter per differing attribute; "hard": 1 if any differs.

  Returns:
    float32 [D, N, M].
  """
  differing = np.zeros((len(b), len(a), b.shape[1]), np.int8)
  for ours, theirs in zip(a.T, np.moveaxis(b, -1, 0), strict=True):
    differing += ours[None, :, None] != theirs[:, None]
  if match == "hard":
    return (differing > 0).astype(np.float32)
  return differing.astype(np.float32) / 4


def edge_costs(a: np.ndarray, b: np.ndarray, quirk: bool) -> np.ndarray:
  """Costs of turning the outgoing relations of objects into each other.

  The cheapest assignment between two lists of neighbours, each reached by
  {right}, {front} or both, where a substitution costs the relations it changes
  and an insertion or deletion 1. Equal neighbours cancel; what is left is
  substituted if that saves anything: both against one alone does, by 1.

  Args:
    a: `SceneGraphs.num_neighbours` of one scene, [3, N].
    b: Those of others, [D, 3, M].
    quirk: Make the cost prohibitive where just one object has no neighbours,
      as the published code did by accident.

  Returns:
    int16 [D, N, M].
  """
  a, b = a.astype(np.int16), b.astype(np.int16)  # costs go past 127
  a, b = a[None, :, :, None], b[:, :, None]  # [1, 3, N, 1], [D, 3, 1, M]
  more, less = np.maximum(a - b, 0), np.maximum(b - a, 0)  # [D, 3, N, M]
  more_one, less_one = more[:, 0] + more[:, 1], less[:, 0] + less[:, 1]
  more_both, less_both = more[:, 2], less[:, 2]
  cost = more_one + more_both + less_one + less_both
  cost -= np.minimum(more_both, less_one) + np.minimum(less_both, more_one)
  if quirk:
    ours, theirs = a.sum(axis=1), b.sum(axis=1)
    one_is_alone = (ours == 0) ^ (theirs == 0)
    prohibitive = int(_UNSOLVABLE) * (ours + theirs)
    return np.where(one_is_alone, prohibitive, cost)
  return cost


def v2_costs(
  query: SceneGraphs, others: SceneGraphs, match: str, quirk: bool = False
) -> np.ndarray:
  """Costs of matching each object of a scene with each one of others.

  Args:
    query: One scene, of N objects.
    others: D scenes; rows past an object count give no sensible costs.

  Returns:
    float32 [D, N, M].
  """
  count = int(query.num_objects[0])
  ours, theirs = query.num_neighbours[0, :, :count], others.num_neighbours
  edges = edge_costs(ours, theirs, quirk)
  nodes = node_costs(query.attributes[0, :count], others.attributes, match)
  return nodes + edges


def v2(
  query: SceneGraphs, others: SceneGraphs, match: str, quirk: bool = False
) -> np.ndarray:
  """Distances v2 of one scene to others.

  Instead of a matrix with rows and columns for deleted and inserted objects,
  the assignment between the objects alone is solved: not matching a pair costs
  two INSERTIONs, which bounds what a match can cost. The value is the same.

  Returns:
    float32 [D].
  """
  costs = v2_costs(query, others, match, quirk)
  np.minimum(costs, 2 * INSERTION, out=costs)
  distances = np.empty(len(others), np.float32)
  count = int(query.num_objects[0])
  for size in np.unique(others.num_objects):
    rows = np.flatnonzero(others.num_objects == size)
    chosen = costs[rows, :, :size].astype(np.float64)
    if size < count:
      chosen = np.ascontiguousarray(chosen.transpose(0, 2, 1))
    columns = _assign(chosen)
    total = np.take_along_axis(chosen, columns[..., None], axis=2).sum((1, 2))
    distances[rows] = total + INSERTION * abs(int(size) - count)
  return distances


def _assign(costs: np.ndarray) -> np.ndarray:
  """Returns the column of every row, [D, N], for costs [D, N, M], N <= M."""
  columns = np.empty(costs.shape[:2], np.int64)
  for row, cost in zip(columns, costs, strict=True):
    row[:] = linear_sum_assignment(cost)[1]
  return columns


def v1(
  query: SceneGraphs, others: SceneGraphs, match: str, tie_break: bool = False
) -> np.ndarray:
  """Distances v1 of one scene to others.

  Args:
    query: One scene.
    others: D scenes.
    match: See `node_costs`.
    tie_break: Among equally cheap assignments prefer one of objects at similar
      places in both orders. A ground truth of its own, not the published one,
      but one that hardly depends on the order of the objects.

  Returns:
    float32 [D].
  """
  count = int(query.num_objects[0])
  distances = np.empty(len(others), np.float32)
  for size in np.unique(others.num_objects).tolist():
    rows = np.flatnonzero(others.num_objects == size)
    attributes = others.attributes[rows, :size]
    ranks, query_ranks = others.ranks[rows, :size], query.ranks[0, :count]
    costs = node_costs(query.attributes[0, :count], attributes, match)
    solved = costs.astype(np.float64)
    if tie_break:
      solved += _TIE_BREAK * _places_apart(query_ranks, ranks)
    columns = _assign(_with_edits(solved))[:, :count]
    matched = columns < size
    columns = np.where(matched, columns, 0)
    cost = np.take_along_axis(costs, columns[..., None], axis=2)[..., 0]
    num_matched = matched.sum(axis=1)
    nodes = (cost * matched).sum(axis=1) + count + size - 2 * num_matched
    distances[rows] = 2 * nodes + _inversions(
      query_ranks, ranks, columns, matched
    )
  return distances


def _places_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Differences of the places in both orders, each from 0 to 1: [D, N, M]."""
  a = a / max(len(a) - 1, 1)
  b = b / max(b.shape[1] - 1, 1)
  return np.abs(a[None, :, None] - b[:, None]).sum(axis=-1)


def _with_edits(costs: np.ndarray) -> np.ndarray:
  """Adds v1's rows of inserted and columns of deleted objects.

  Args:
    costs: [D, N, M].

  Returns:
    [D, N + M, M + N]. Its layout is part of the rule: it breaks the ties.
  """
  scenes, rows, columns = costs.shape
  full = np.zeros((scenes, rows + columns, columns + rows))
  full[:, :rows, :columns] = costs
  full[:, :rows, columns:] = _FORBIDDEN_V1 - 4 * np.eye(rows)
  full[:, rows:, :columns] = _FORBIDDEN_V1 - 4 * np.eye(columns)
  return full


def _inversions(
  a: np.ndarray, b: np.ndarray, columns: np.ndarray, matched: np.ndarray
) -> np.ndarray:
  """Counts the relations between matched objects that are the other way round.

  Args:
    a: Ranks of one scene, [N, 2].
    b: Ranks of others, [D, M, 2].
    columns: Objects that those of `a` are matched with, [D, N].
    matched: bool [D, N].

  Returns:
    Over both relations, [D].
  """
  mapped = np.take_along_axis(b, columns[..., None], axis=1)  # [D, N, 2]
  after = a[:, None] > a[None]  # [N, N, 2]
  inverted = after & (mapped[:, :, None] < mapped[:, None])
  inverted &= (matched[:, :, None] & matched[:, None])[..., None]
  return inverted.sum(axis=(1, 2, 3))
