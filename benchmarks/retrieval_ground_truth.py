"""How many pairs of scenes a second of one core compares.

    python -m benchmarks.retrieval_ground_truth [--scenes=2000] ...

On generated scenes of 3 to 10 objects. Seconds are those of the processor.
"pair by pair" builds the matrices of one pair with NumPy and calls SciPy's
assignment; for v2 "as published" does so for every two objects' relations as
well. The exact distance is compared with networkx, if installed, on scenes of
at most 4 objects: larger ones take it seconds to hours.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
from absl import flags
from scipy.optimize import linear_sum_assignment

from benchmarks import timing
from data_prep.generation.scenes import sample_scene
from rn_jax.retrieval.scene_graphs import bipartite
from rn_jax.retrieval.scene_graphs.exact import exact
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs, scene_graphs

_SMALL = 4  # objects that networkx is tried on


def _v1_pair(a: SceneGraphs, b: SceneGraphs, match: str) -> float:
  nodes_a, nodes_b = a.attributes[0], b.attributes[0]
  n, m = len(nodes_a), len(nodes_b)
  rows, columns = linear_sum_assignment(
    _full(_nodes(nodes_a, nodes_b, match), 1, 5)
  )
  kept = (rows < n) & (columns < m)
  rows, columns = rows[kept], columns[kept]
  nodes = _nodes(nodes_a, nodes_b, match)[rows, columns].sum()
  total = 2 * (nodes + n + m - 2 * len(rows))
  for order in range(2):
    ours, theirs = a.ranks[0, rows, order], b.ranks[0, columns, order]
    after = ours[:, None] > ours
    total += (after & (theirs[:, None] < theirs)).sum()
  return total


def _v2_pair(a: SceneGraphs, b: SceneGraphs, match: str) -> float:
  edges = bipartite.edge_costs(
    a.num_neighbours[0], b.num_neighbours[:1], quirk=False
  )[0]
  costs = _nodes(a.attributes[0], b.attributes[0], match) + edges
  full = _full(costs, 2, 1000)
  return full[linear_sum_assignment(full)].sum()


def _v2_published(a: SceneGraphs, b: SceneGraphs, match: str) -> float:
  sets_a, sets_b = (_relations(s.ranks[0]) for s in (a, b))
  costs = _nodes(a.attributes[0], b.attributes[0], match)
  for i, ours in enumerate(sets_a):
    for j, theirs in enumerate(sets_b):
      if len(ours) and len(theirs):
        changes = (ours[:, None] != theirs[None]).sum(axis=-1)
        full = _full(changes, 1, 1000)
        costs[i, j] += full[linear_sum_assignment(full)].sum()
      else:
        costs[i, j] += len(ours) + len(theirs)
  full = _full(costs, 2, 1000)
  return full[linear_sum_assignment(full)].sum()


def _relations(ranks: np.ndarray) -> list[np.ndarray]:
  """For each object, the relations to its neighbours: bool [K, 2]."""
  after = ranks[:, None] > ranks[None]
  return [row[row.any(axis=-1)] for row in after]


def _nodes(a: np.ndarray, b: np.ndarray, match: str) -> np.ndarray:
  differs = a[:, None] != b
  return (differs.any(-1) if match == "hard" else differs.mean(-1)).astype(
    float
  )


def _full(costs: np.ndarray, edit: float, forbidden: float) -> np.ndarray:
  n, m = costs.shape
  full = np.zeros((n + m, m + n))
  full[:n, :m] = costs
  full[:n, m:] = np.where(np.eye(n, dtype=bool), edit, forbidden)
  full[n:, :m] = np.where(np.eye(m, dtype=bool), edit, forbidden)
  return full


def _networkx_pair(a: SceneGraphs, b: SceneGraphs, match: str) -> float:
  import networkx as nx

  graphs = []
  for scene in (a, b):
    graph = nx.MultiDiGraph()
    for i, values in enumerate(scene.attributes[0]):
      graph.add_node(i, values=values)
    for i, j, order in np.argwhere(scene.ranks[0, :, None] > scene.ranks[0]):
      graph.add_edge(i, j, order=order)
    graphs.append(graph)
  return nx.graph_edit_distance(
    *graphs,
    node_subst_cost=lambda x, y: _nodes(
      x["values"][None], y["values"][None], match
    )[0, 0],
    edge_subst_cost=lambda x, y: float(x["order"] != y["order"]),
  )


def _alone(scenes: SceneGraphs) -> list[SceneGraphs]:
  """Takes scenes apart: each in arrays of its own, without padding."""
  counts = scenes.num_objects.tolist()
  return [
    SceneGraphs(
      scenes.attributes[i : i + 1, :n],
      scenes.ranks[i : i + 1, :n],
      *(
        array[i : i + 1]
        for array in (
          scenes.num_objects,
          scenes.image_index,
          scenes.image_filename,
        )
      ),
    )
    for i, n in enumerate(counts)
  ]


def _rate(
  compare: Callable[[], np.ndarray], repeats: int
) -> tuple[np.ndarray, float]:
  """Returns the distances, and pairs per second of the median repeat."""
  found = compare()
  seconds = []
  for _ in range(repeats):
    started = time.process_time()
    compare()
    seconds.append(time.process_time() - started)
  return found, found.size / max(statistics.median(seconds), 1e-9)


def run(
  scenes: int, queries: int, naive_pairs: int, repeats: int
) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below.

  Raises:
    ValueError: Variants disagree.
  """
  rows = []

  def compare(graphs, variants, ours, match):
    """Compares `queries` scenes with all; variants pair by pair with some."""
    name, distance = ours
    found, rate = _rate(
      lambda: np.stack(
        [distance(graphs[[i]], graphs, match) for i in range(queries)]
      ),
      repeats,
    )
    apart = _alone(graphs)
    rng = np.random.default_rng(0)
    for label, (pair, number) in variants.items():
      chosen = [
        (rng.integers(queries), rng.integers(len(graphs)))
        for _ in range(number)
      ]
      values, slow = _rate(
        lambda pair=pair, chosen=chosen: np.array(
          [pair(apart[i], apart[j], match) for i, j in chosen]
        ),
        1,
      )
      if not np.allclose(values, found[tuple(np.transpose(chosen))]):
        raise ValueError(f"{name} {match}: {label} gives other distances")
      rows.append((name, match, label, slow, 1.0))
    first = rows[-len(variants)][3] if variants else rate
    for i in range(len(rows) - len(variants), len(rows)):
      rows[i] = (*rows[i][:4], rows[i][3] / first)
    rows.append((name, match, "this package", rate, rate / first))

  def exactly(query, others, match):
    return exact(query, others, match)[0]

  graphs = scene_graphs(sample_scene(0, "val", i) for i in range(scenes))
  small = scene_graphs(
    sample_scene(0, "val", i, max_objects=_SMALL) for i in range(scenes)
  )
  few = max(1, naive_pairs // 20)
  for match in bipartite.MATCHES:
    pairwise = {"pair by pair": (_v1_pair, naive_pairs)}
    compare(graphs, pairwise, ("v1", bipartite.v1), match)
    pairwise = {
      "as published": (_v2_published, few),
      "pair by pair": (_v2_pair, naive_pairs),
    }
    compare(graphs, pairwise, ("v2", bipartite.v2), match)
    compare(graphs, {}, ("exact", exactly), match)
    if importlib.util.find_spec("networkx"):
      pairwise = {"networkx": (_networkx_pair, few)}
      name = f"exact, 3-{_SMALL} objects"
      compare(small, pairwise, (name, exactly), match)
  print(f"{queries} queries, {scenes} scenes\n")
  header = "distance", "match", "variant", "pairs/s", "times as fast"
  timing.print_table(header, rows)
  return rows


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_integer("scenes", 2000, "Scenes to compare with."),
      flags.DEFINE_integer("queries", 16, "Scenes that are compared."),
      flags.DEFINE_integer("naive_pairs", 2000, "Pairs for slow variants."),
      flags.DEFINE_integer("repeats", 3, "Rounds of measuring."),
    ],
  )
