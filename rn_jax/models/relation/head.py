"""The head of a config.

A head is a module with these, and no base class:

* head(scene, question, keys=) gives float32 vectors, [S, K, D] for K questions
  about each of S scenes, or [S, 1, D] if it does not read them;
* head.question_free: the names of its parameters that read no word, in the
  order of their use;
* head.described, and head.describe(scene): the names of what it knows of scenes
  before a question is asked, and that by name;
* head.reads_boxes: whether scenes need them;
* head.relates_pairs: whether pairs can be left out of its sum, which it then
  gives apart: head(scene, question, summed=False), [S, K or 1, N, N, D];
* head.activations(num_objects): how many numbers are at work at once for one
  scene, from which blocks of scenes take their size.
"""

from typing import Any

import jax.numpy as jnp

from rn_jax.models.relation.object_head import ContextHead, ObjectHead
from rn_jax.models.relation.object_relation import ObjectRelation
from rn_jax.models.relation.pairwise import Pairwise

KINDS = ("pairwise", "object_relation", "object_relation_pairwise")


def make_head(config: Any) -> Pairwise | ObjectHead | ContextHead:
  """Makes the head of the `model` part of a config.

  Args:
    config: That part, frozen or not.

  Raises:
    ValueError: There is no such head, or the question joins at a layer that is
      not there.
  """
  head, dtype = config.head, jnp.dtype(config.dtype)
  if head.kind not in KINDS:
    raise ValueError(
      f"config.model.head.kind is {head.kind!r}, none of {', '.join(KINDS)}"
    )
  layer = question_layers(config)[0]
  pairs = Pairwise(
    units=config.g_units,
    dropout_rates=config.g_dropout,
    question_layer=layer,
    aggregation=config.aggregation,
    one_by_one=bool(config.scenes_per_block),
    dtype=dtype,
  )
  if head.kind == "pairwise":
    return pairs
  layers = [
    ObjectRelation(
      num_relations=head.num_relations,
      key_width=head.key_width,
      geometry=None if head.geometry == "none" else head.geometry,
      denominator=head.denominator,
      zero_init=head.zero_init,
      dtype=dtype,
    )
    for _ in range(head.layers)
  ]
  if head.kind == "object_relation_pairwise":
    return ContextHead(layers, head.width, pairs, dtype)
  return ObjectHead(layers, head.width, layer, head.pooling, dtype)


def question_layers(config: Any) -> tuple[int | None, int | None]:
  """Returns where the question joins: at a layer of the head, or of f_phi.

  Layers are counted through the head and f_phi as one chain: those of g_theta,
  or of object relations where there are no pairs.

  Args:
    config: The `model` part of a config.
  """
  number, layer = len(config.g_units), config.question_layer
  if config.head.kind == "object_relation":
    number = config.head.layers
  if not 0 <= layer < number + len(config.f_units):
    raise ValueError(
      f"config.model.question_layer is {layer}; the network has hidden "
      f"layers 0 to {number + len(config.f_units) - 1}"
    )
  return (layer, None) if layer < number else (None, layer - number)
