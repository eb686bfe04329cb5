"""Scenes for the tests of retrieval: some by hand, many generated."""

import functools

import numpy as np

from data_prep.generation.scenes import sample_scene
from rn_jax.clevr import ATTRIBUTES
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs, scene_graphs


def scene(names: list[str], right: list[int], front: list[int], index=0):
  """A scene in CLEVR's layout.

  Args:
    names: "size color material shape" of each object.
    right: Objects from left to right.
    front: Objects from rear to front.
    index: Number of the image.
  """
  keys = "size", "color", "material", "shape"
  return {
    "image_index": index,
    "image_filename": f"CLEVR_val_{index:06d}.png",
    "objects": [dict(zip(keys, n.split(), strict=True)) for n in names],
    "relationships": {
      relation: [order[order.index(i) + 1 :] for i in range(len(names))]
      for relation, order in (("right", right), ("front", front))
    },
  }


_A = ["large red rubber cube", "small blue metal sphere"]
_A.append("large green rubber cylinder")
_C = [_A[0], "small purple metal sphere", _A[2], "small yellow metal cube"]
_D = ["small gray metal sphere", "large brown rubber cube"]
_D.append("small cyan metal cylinder")

# Four scenes of the acceptance tests, and two that differ by the front order
# of an object with no relations that lead away from it.
BY_HAND = {
  "A": scene(_A, [0, 1, 2], [1, 2, 0], 0),
  "B": scene(_A, [2, 1, 0], [1, 2, 0], 1),
  "C": scene(_C, [0, 1, 2, 3], [1, 2, 0, 3], 2),
  "D": scene(_D, [2, 0, 1], [0, 1, 2], 3),
  "alone": scene(_A, [0, 1, 2], [0, 1, 2], 4),
  "not alone": scene(_A, [0, 1, 2], [1, 0, 2], 5),
}


@functools.cache
def generated(number: int, min_objects=3, max_objects=10) -> SceneGraphs:
  limits = {"min_objects": min_objects, "max_objects": max_objects}
  return scene_graphs(
    sample_scene(7, "val", i, **limits) for i in range(number)
  )


def by_hand(*names: str) -> SceneGraphs:
  return scene_graphs([BY_HAND[name] for name in names])


def renumbered(graphs: SceneGraphs, rng: np.random.Generator) -> SceneGraphs:
  """The same scenes with their objects listed in another order."""
  attributes, ranks = graphs.attributes.copy(), graphs.ranks.copy()
  for i, count in enumerate(graphs.num_objects):
    order = rng.permutation(count)
    attributes[i, :count] = attributes[i, order]
    ranks[i, :count] = ranks[i, order]
  return SceneGraphs(
    attributes,
    ranks,
    graphs.num_objects,
    graphs.image_index,
    graphs.image_filename,
  )


def as_graph(graphs: SceneGraphs, i: int) -> tuple[np.ndarray, set]:
  """Attributes [N, 4] and the labelled edges (a, b, order) of one scene."""
  count = graphs.num_objects[i]
  ranks = graphs.ranks[i]
  edges = {
    (a, b, order)
    for a in range(count)
    for b in range(count)
    for order in range(2)
    if ranks[a, order] > ranks[b, order]
  }
  assert graphs.attributes.shape[2] == len(ATTRIBUTES)
  return graphs.attributes[i, :count], edges
