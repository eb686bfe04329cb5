"""What the distance of two scenes is made of."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from rn_jax.clevr import ATTRIBUTES
from rn_jax.retrieval.scene_graphs import bipartite
from rn_jax.retrieval.scene_graphs.exact import exact
from rn_jax.retrieval.scene_graphs.scene_graph import (
  ORDERS,
  SceneError,
  SceneGraphs,
)

METHODS = ("v2", "exact")


def explain(
  scenes: SceneGraphs,
  image: int,
  other: int,
  method: str = "v2",
  match: str = "soft",
  quirk: bool = False,
) -> dict:
  """Explains the distance of one scene to another.

  Args:
    scenes: Scene graphs, with both.
    image: Image index of the one.
    other: Image index of the other.
    method: One of METHODS.
    match: One of `bipartite.MATCHES`.
    quirk: See `bipartite.edge_costs`.

  Returns:
    JSON values: `distance`; `images`; `matched`, a list of pairs of objects
    with their `differences` and the costs `attributes` and (v2) `relations`;
    `deleted` and `inserted`, objects that have no match; `inverted`, relations
    between matched objects that are the other way round; and `terms`, whose
    `cost` sum up to the distance.

  Raises:
    SceneError: There is no such scene, or no such distance.
  """
  one, two = scenes.positions([image, other])
  return explain_pair(scenes[[one]], scenes[[two]], method, match, quirk)


def explain_pair(
  a: SceneGraphs,
  b: SceneGraphs,
  method: str = "v2",
  match: str = "soft",
  quirk: bool = False,
) -> dict:
  """Explains the distance of one scene to another; see explain.

  Args:
    a: The one scene, alone.
    b: The other, alone; maybe of another file.
    method: One of METHODS.
    match: One of `bipartite.MATCHES`.
    quirk: See `bipartite.edge_costs`.

  Raises:
    SceneError: There is no such distance.
  """
  if method not in METHODS or match not in bipartite.MATCHES:
    raise SceneError(
      f"{method!r} {match!r} cannot be explained; methods: "
      f"{', '.join(METHODS)}; matches: {', '.join(bipartite.MATCHES)}"
    )
  count = int(a.num_objects[0])
  size = int(b.num_objects[0])
  nodes = bipartite.node_costs(
    a.attributes[0, :count], b.attributes[:, :size], match
  )[0]
  if method == "v2":
    distance = float(bipartite.v2(a, b, match, quirk)[0])
    costs = bipartite.v2_costs(a, b, match, quirk)[0, :, :size]
    rows, columns = linear_sum_assignment(
      np.minimum(costs, 2 * bipartite.INSERTION)
    )
    kept = costs[rows, columns] < 2 * bipartite.INSERTION
    to = dict(zip(rows[kept].tolist(), columns[kept].tolist(), strict=True))
    edges = costs - nodes
  else:
    distances, maps = exact(a, b, match)
    distance = float(distances[0])
    to = {i: j for i, j in enumerate(maps[0].tolist()) if j >= 0}
    edges = None

  matched = []
  for i, j in to.items():
    pair = {
      "objects": [i, j],
      "names": [_name(a, i), _name(b, j)],
      "differences": _differences(a, i, b, j),
      "attributes": float(nodes[i, j]),
    }
    if edges is not None:
      pair["relations"] = float(edges[i, j])
    matched.append(pair)
  deleted = [i for i in range(count) if i not in to]
  inserted = [j for j in range(size) if j not in to.values()]
  terms = _terms(a, b, to, matched, len(deleted), len(inserted), method)
  total = sum(term["cost"] for term in terms)
  if not np.isclose(total, distance, atol=1e-4):
    raise AssertionError(f"terms sum up to {total}, not {distance}")
  return {
    "distance": distance,
    "method": method,
    "match": match,
    "quirk": quirk,
    "images": [
      {"index": int(s.image_index[0]), "filename": str(s.image_filename[0])}
      for s in (a, b)
    ],
    "matched": matched,
    "deleted": [{"object": i, "name": _name(a, i)} for i in deleted],
    "inserted": [{"object": j, "name": _name(b, j)} for j in inserted],
    "inverted": _inverted(a, b, to),
    "terms": terms,
  }


def _name(scene: SceneGraphs, i: int) -> str:
  """Says what an object looks like: "large red rubber cube"."""
  values = dict(zip(ATTRIBUTES, scene.attributes[0, i].tolist(), strict=True))
  order = "size", "color", "material", "shape"
  return " ".join(ATTRIBUTES[name][values[name]] for name in order)


def _differences(a: SceneGraphs, i: int, b: SceneGraphs, j: int) -> dict:
  return {
    name: [values[x], values[y]]
    for (name, values), x, y in zip(
      ATTRIBUTES.items(),
      a.attributes[0, i].tolist(),
      b.attributes[0, j].tolist(),
      strict=True,
    )
    if x != y
  }


def _inverted(a: SceneGraphs, b: SceneGraphs, to: dict[int, int]) -> list[dict]:
  """Lists relations of matched objects that hold the other way round."""
  result = []
  for order, relation in enumerate(ORDERS):
    ours, theirs = a.ranks[0, :, order], b.ranks[0, :, order]
    result += [
      {"relation": relation, "objects": [i, k], "matches": [to[i], to[k]]}
      for i in to
      for k in to
      if ours[i] > ours[k] and theirs[to[i]] < theirs[to[k]]
    ]
  return result


def _terms(a, b, to, matched, deleted, inserted, method) -> list[dict]:
  """Lists what the distance is the sum of."""
  terms = [
    {
      "what": "attributes of matched objects",
      "cost": sum(pair["attributes"] for pair in matched),
    }
  ]
  if method == "v2":
    for what, number in (("deleted", deleted), ("inserted", inserted)):
      cost = bipartite.INSERTION * number
      terms.append(
        {"what": f"{what} objects and their relations", "cost": cost}
      )
    cost = sum(pair["relations"] for pair in matched)
    return [*terms, {"what": "relations of matched objects", "cost": cost}]
  for what, number, scene in (
    ("deleted", deleted, a),
    ("inserted", inserted, b),
  ):
    count = int(scene.num_objects[0])
    edges = count * (count - 1) - len(to) * (len(to) - 1)
    terms.append({"what": f"{what} objects", "cost": float(number)})
    terms.append({"what": f"{what} relations", "cost": float(edges)})
  changed = sum(
    _changed_edges(a.ranks[0], b.ranks[0], i, k, to)
    for i in to
    for k in to
    if i < k
  )
  terms.append({"what": "relations between matched objects", "cost": changed})
  return terms


def _changed_edges(a, b, i: int, k: int, to: dict[int, int]) -> float:
  """What it takes to change both relations of two matched objects."""
  cost = 0
  for x, y in ((i, k), (k, i)):
    ours, theirs = a[x] > a[y], b[to[x]] > b[to[y]]
    cost += max(ours.sum(), theirs.sum()) - (ours & theirs).sum()
  return float(cost)
