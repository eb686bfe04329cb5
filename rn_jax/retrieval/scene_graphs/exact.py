"""The exact graph edit distance of scene graphs, by branch and bound.

Costs: an object 1 to insert or delete; its substitution as in
`bipartite.node_costs`; an edge 1 to insert or delete, or to substitute if the
relation changes. Every two objects of a scene are linked by two edges, one per
order. So leaving an object of either scene unmatched costs 1 and 2 for each
other object, and of two matched pairs of objects only the KIND matters: who is
right, and who is in front. It follows that a cheapest edit path matches all
objects of the smaller scene: another match saves 2 and pays at most 1, saves 4
for every match there is and pays at most 4. What is left to search is the
cheapest way to put the n rows (objects of the smaller scene) on m columns.

The search works on arrays of partial maps of many pairs of scenes at a time,
one row after the other, and drops a partial map when a lower bound reaches the
best distance known. The bound adds up, for every row to come, the cheapest
free column: its cost against the rows placed, and half of what the kinds of
its rows to come and of that column's free columns must at least differ by. All
costs are counted in quarters, in integers.
"""

from typing import NamedTuple

import numpy as np

from rn_jax.retrieval.scene_graphs.bipartite import node_costs
from rn_jax.retrieval.scene_graphs.scene_graph import SceneError, SceneGraphs

MAX_OBJECTS = 30
_BEAM = 2  # maps a pair that the first, greedy search keeps
_PAIRS = 256  # solved together
_BLOCK = 2048  # partial maps expanded together: they should fit the cache
_TAKEN = np.int16(10_000)  # more than any distance

# KIND of two objects: 1 if the first is right of the second, plus 2 if it is
# in front. What it costs, in quarters, to turn kinds into each other: an edge
# turned round is deleted and inserted, but right of and behind becomes left of
# and in front by substituting both edges.
_KIND_COSTS = 8 * np.array(
  [[0, 1, 1, 2], [1, 0, 1, 1], [1, 1, 0, 1], [2, 1, 1, 0]], np.int16
)


class _Problems(NamedTuple):
  """P pairs of scenes, of n and m objects, n <= m."""

  nodes: np.ndarray  # int16 [P, n, m]
  row_kinds: np.ndarray  # int8 [P, n, n]
  costs: np.ndarray  # int16 [P, m, 4, m]: of column j, a kind of rows, column l
  rows_left: (
    np.ndarray
  )  # int8 [P, n + 1, n, 4]: of rows >= k, per kind, to row i
  columns: np.ndarray  # bool [P, m, m, 4]: column j, to column l, is of a kind


class _Partial(NamedTuple):
  """L partial maps that all place the first k rows."""

  pair: np.ndarray  # int [L]
  placed: np.ndarray  # int8 [L, k], columns
  cost: np.ndarray  # int16 [L], of the rows placed
  table: (
    np.ndarray
  )  # int16 [L, n - k, m], of rows to come, against those placed
  taken: np.ndarray  # bool [L, m]
  columns_left: np.ndarray  # int8 [L, m, 4]: of free columns, per kind

  def choose(self, chosen) -> "_Partial":
    return _Partial(*(a[chosen] for a in self))


def exact(
  query: SceneGraphs, others: SceneGraphs, match: str
) -> tuple[np.ndarray, np.ndarray]:
  """Exact distances of one scene to others.

  Args:
    query: One scene, of N objects.
    others: D scenes.
    match: "soft" or "hard", see `bipartite.node_costs`.

  Returns:
    Distances, float32 [D], and for each a cheapest map, int8 [D, N]: the
    object that an object of the query turns into, or -1.

  Raises:
    SceneError: A scene has more objects than the search can count for.
  """
  count = int(query.num_objects[0])
  if max(count, others.num_objects.max(initial=0)) > MAX_OBJECTS:
    raise SceneError(
      f"exact distances need scenes of at most {MAX_OBJECTS} objects; use v2"
    )
  ours = query.attributes[0, :count], query.ranks[:, :count]
  distances = np.empty(len(others), np.float32)
  maps = np.full((len(others), count), -1, np.int8)
  for size in np.unique(others.num_objects).tolist():
    group = np.flatnonzero(others.num_objects == size)
    for rows in np.split(group, range(_PAIRS, len(group), _PAIRS)):
      ranks = others.ranks[rows, :size]
      nodes = node_costs(ours[0], others.attributes[rows, :size], match)
      if count <= size:
        problems = _problems(nodes, ours[1], ranks)
        best, placed = _solve(problems)
        maps[rows] = placed
      else:
        problems = _problems(nodes.transpose(0, 2, 1), ranks, ours[1])
        best, placed = _solve(problems)
        for object_, columns in enumerate(placed.T):
          maps[rows, columns] = object_
      edges = abs(count * (count - 1) - size * (size - 1))
      distances[rows] = best / 4 + abs(count - size) + edges
  return distances, maps


def _problems(nodes, row_ranks, column_ranks) -> _Problems:
  """Prepares the search; one of the ranks is of one scene, [1, n, 2]."""
  pairs, n, _ = nodes.shape
  row_kinds, column_kinds = _kinds(row_ranks), _kinds(column_ranks)
  to_rows = _one_hot(row_kinds)  # [., n, n, 4]
  rows_left = np.zeros((len(to_rows), n + 1, n, 4), np.int8)
  for k in reversed(range(n)):
    rows_left[:, k] = rows_left[:, k + 1] + to_rows[:, :, k]
  costs = _KIND_COSTS[:, column_kinds].transpose(1, 2, 0, 3)
  return _Problems(
    (4 * nodes).astype(np.int16),
    *(
      np.broadcast_to(a, (pairs, *a.shape[1:]))
      for a in (
        row_kinds,
        np.ascontiguousarray(costs),
        rows_left,
        _one_hot(column_kinds),
      )
    ),
  )


def _kinds(ranks: np.ndarray) -> np.ndarray:
  after = (ranks[:, :, None] > ranks[:, None]).astype(np.int8)
  return after[..., 0] + 2 * after[..., 1]


def _one_hot(kinds: np.ndarray) -> np.ndarray:
  others = ~np.eye(kinds.shape[1], dtype=bool)
  return (kinds[..., None] == np.arange(4)) & others[..., None]


def _solve(problems: _Problems) -> tuple[np.ndarray, np.ndarray]:
  """Returns the cheapest costs, [P], and a map of each, [P, n]."""
  pairs, n, m = problems.nodes.shape
  best = np.full(pairs, _TAKEN)
  maps = np.zeros((pairs, n), np.int8)
  start = _Partial(
    pair=np.arange(pairs),
    placed=np.empty((pairs, 0), np.int8),
    cost=np.zeros(pairs, np.int16),
    table=problems.nodes,
    taken=np.zeros((pairs, m), bool),
    columns_left=problems.columns.sum(axis=2, dtype=np.int8),
  )

  def settle(done: _Partial) -> None:
    done = done.choose(_cheapest(done.pair, done.cost, 1))
    done = done.choose(done.cost < best[done.pair])
    best[done.pair], maps[done.pair] = done.cost, done.placed

  greedy = start
  for _ in range(n):
    greedy, bound = _expand(problems, greedy, best)
    greedy = greedy.choose(_cheapest(greedy.pair, bound, _BEAM))
  settle(greedy)

  stack = [start.choose(_bound(problems, start) < best)]
  while stack:
    block = stack.pop()
    if block.placed.shape[1] == n:
      settle(block)
      continue
    if len(block.pair) > _BLOCK:
      stack.append(block.choose(slice(_BLOCK, None)))
      block = block.choose(slice(_BLOCK))
    block, bound = _expand(problems, block, best)
    block = block.choose(bound < best[block.pair])
    if len(block.pair):
      stack.append(block)
  return best, maps


def _cheapest(pair: np.ndarray, cost: np.ndarray, number: int) -> np.ndarray:
  """Returns where the cheapest entries of each pair are, at most `number`."""
  order = np.lexsort((cost, pair))
  pair = pair[order]
  return order[np.arange(len(pair)) - np.searchsorted(pair, pair) < number]


def _expand(
  problems: _Problems, block: _Partial, best: np.ndarray
) -> tuple[_Partial, np.ndarray]:
  """Places the next row on every free column, unless it clearly is too dear.

  Returns:
    The new partial maps and their lower bounds.
  """
  k = block.placed.shape[1]
  table = block.table + _TAKEN * block.taken[:, None]
  cost = block.cost[:, None] + table[:, 0]
  to_come = table[:, 1:].min(axis=2, initial=_TAKEN).sum(axis=1, dtype=np.int16)
  promising = cost + to_come[:, None] < best[block.pair][:, None]
  parent, column = np.nonzero(promising)
  pair = block.pair[parent]
  kinds = problems.row_kinds[pair, k, k + 1 :]  # [L, n - k - 1]
  added = problems.costs[pair[:, None], column[:, None], kinds]
  taken = block.taken[parent]
  taken[np.arange(len(parent)), column] = True
  placed = np.column_stack([block.placed[parent], column.astype(np.int8)])
  children = _Partial(
    pair,
    placed,
    cost[parent, column],
    block.table[parent, 1:] + added,
    taken,
    block.columns_left[parent] - problems.columns[pair, :, column],
  )
  return children, _bound(problems, children)


def _bound(problems: _Problems, block: _Partial) -> np.ndarray:
  """Bounds the cost of every way to complete the partial maps from below."""
  k, n = block.placed.shape[1], problems.nodes.shape[1]
  if k == n:
    return block.cost
  rows_left = problems.rows_left[block.pair, k, k:]  # [L, n - k, 4]
  # Kinds that a row has more often than a column must change: 8 or more each,
  # for two rows, so 4 to the account of each.
  surplus = np.zeros(block.table.shape, np.int8)
  for kind in range(4):
    surplus += np.maximum(
      rows_left[:, :, None, kind] - block.columns_left[:, None, :, kind], 0
    )
  table = block.table + 4 * surplus.astype(np.int16)
  table += _TAKEN * block.taken[:, None]
  by_row = table.min(axis=2)
  bound = block.cost + by_row.sum(axis=1, dtype=np.int16)
  if n == problems.nodes.shape[2]:  # every free column gets a row
    table -= by_row[:, :, None]
    by_column = table.min(axis=1) * ~block.taken
    bound += by_column.sum(axis=1, dtype=np.int16)
  return bound
