"""Histograms of scenes against counting by hand."""

import itertools

import numpy as np
from small_scenes import BY_HAND, by_hand, generated

from rn_jax.clevr import ATTRIBUTES
from rn_jax.retrieval.scores import baselines

_VALUES = [value for values in ATTRIBUTES.values() for value in values]
_TYPES = list(itertools.product(*ATTRIBUTES.values()))


def test_histograms_count_values_types_and_relations():
  names = list(BY_HAND)
  graphs = by_hand(*names)
  attributes = np.zeros((len(names), 15))
  types = np.zeros((len(names), 96))
  relations = np.zeros((len(names), 2, 15, 15))
  for s, name in enumerate(names):
    objects = [
      tuple(o[a] for a in ATTRIBUTES) for o in BY_HAND[name]["objects"]
    ]
    for values in objects:
      types[s, _TYPES.index(values)] += 1
      for value in values:
        attributes[s, _VALUES.index(value)] += 1
    for order, relation in enumerate(("right", "front")):
      lists = BY_HAND[name]["relationships"][relation]
      for other, after in enumerate(lists):
        for first in after:
          for a, b in itertools.product(objects[first], objects[other]):
            relations[s, order, _VALUES.index(a), _VALUES.index(b)] += 1
  assert np.array_equal(baselines.attribute_histogram(graphs), attributes)
  assert np.array_equal(baselines.type_histogram(graphs), types)
  found = baselines.relation_histogram(graphs)
  assert np.array_equal(found, relations.reshape(len(names), 450))


def test_counts_are_those_of_the_scenes():
  graphs = generated(20)
  counts = graphs.num_objects
  queries = np.array([3, 5])
  assert np.array_equal(
    baselines.object_count(graphs, queries), np.stack([counts, counts])
  )
  differences = baselines.count_difference(graphs, queries)
  for row, query in zip(differences, queries, strict=True):
    assert row.tolist() == [abs(c - counts[query]) for c in counts]
  assert np.array_equal(baselines.type_histogram(graphs).sum(axis=1), counts)


def test_random_descriptors_depend_on_the_seed_alone():
  first, again, other = (
    baselines.random_descriptor(30, seed) for seed in (0, 0, 1)
  )
  assert first.shape == (30, 512)
  assert np.array_equal(first, again)
  assert not np.array_equal(first, other)
