"""The head of a config.

A head is a module with these, and no base class:

* head(scene, question, keys=) gives float32 vectors, [S, K, D] for K questions
  about each of S scenes, or [S, 1, D] if it does not read them;
* head.question_free: the names of its parameters that read no word;
* head.described, and head.describe(scene): the names of what it knows of scenes
  before a question is asked, and that by name;
* head.activations(num_objects): how many numbers are at work at once for one
  scene, from which blocks of scenes take their size.
"""

from typing import Any

import jax.numpy as jnp

from rn_jax.models.relation.pairwise import Pairwise


def make_head(config: Any, name: str | None = None) -> Pairwise:
  """Makes the head of the `model` part of a config.

  Args:
    config: That part, frozen or not.
    name: Of the module, for one that is made within another.

  Raises:
    ValueError: The question joins at a layer that is not there.
  """
  # Layers are counted through g_theta and f_phi as one chain.
  layer, num_g = config.question_layer, len(config.g_units)
  if not 0 <= layer < num_g + len(config.f_units):
    raise ValueError(
      f"config.model.question_layer is {layer}; the network has hidden "
      f"layers 0 to {num_g + len(config.f_units) - 1}"
    )
  return Pairwise(
    units=config.g_units,
    dropout_rates=config.g_dropout,
    question_layer=layer if layer < num_g else None,
    aggregation=config.aggregation,
    one_by_one=bool(config.scenes_per_block),
    dtype=jnp.dtype(config.dtype),
    scale=config.sum_scale,
    name=name,
  )
