"""Distances of queries to a database by one of the rules."""

import functools
from collections.abc import Callable

import numpy as np

from rn_jax.host.parts import encode_arrays
from rn_jax.retrieval.scene_graphs import bipartite
from rn_jax.retrieval.scene_graphs.exact import exact
from rn_jax.retrieval.scene_graphs.ground_truth_file import GroundTruthError
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs

METHODS = ("v1", "v2", "exact")


def distance_function(
  method: str, match: str, quirk: bool = False, tie_break: bool = False
) -> Callable[[SceneGraphs, SceneGraphs], np.ndarray]:
  """Returns the function from one scene and D others to distances, [D].

  Raises:
    GroundTruthError: There is no such rule.
  """
  if method not in METHODS or match not in bipartite.MATCHES:
    raise GroundTruthError(
      f"no distance {method!r} {match!r}; methods: {', '.join(METHODS)}; "
      f"matches: {', '.join(bipartite.MATCHES)}"
    )
  if (quirk and method != "v2") or (tie_break and method != "v1"):
    raise GroundTruthError("quirk is an option of v2, tie_break one of v1")
  if method == "v1":
    return functools.partial(bipartite.v1, match=match, tie_break=tie_break)
  if method == "v2":
    return functools.partial(bipartite.v2, match=match, quirk=quirk)
  return lambda query, others: exact(query, others, match)[0]


def compare(
  rule: dict, scenes: SceneGraphs, positions: np.ndarray
) -> np.ndarray:
  """Compares some of the scenes with all; returns distances, [Q, D]."""
  distance = distance_function(**rule)
  return np.stack(
    [
      np.concatenate([distance(scenes[[i]], some) for some in scenes.blocks])
      for i in positions
    ]
  )


def compare_part(
  rule: dict, scenes: SceneGraphs, positions: np.ndarray
) -> tuple[bytes, dict[str, int]]:
  """Does what `compare` does; returns a part, and the number of pairs."""
  distances = compare(rule, scenes, positions)
  return encode_arrays(distances=distances), {"pairs": distances.size}
