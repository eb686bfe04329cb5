"""A fresh network that begins with layers of a trained one.

An AVF-RN starts from a 2S-RN so (Messina et al. 2019): it takes the
convolutions and g_theta's first two layers; the rest is fresh, and all of it
is trained.
"""

import dataclasses
import os
from collections.abc import Mapping

import ml_collections
from absl import logging

from rn_jax.checkpoint import CheckpointError, load_model
from rn_jax.checkpoint_format import flatten
from rn_jax.train_state import TrainState


def warm_start(
  state: TrainState, model: ml_collections.ConfigDict, path: str | os.PathLike
) -> TrainState:
  """Takes over what a trained network makes of pairs before it is asked.

  That is: the convolutions with their BatchNorm statistics, and g_theta's
  layers from the first on, up to the layer at which the question joins in
  either network, or to the first layer of another shape. None of them reads
  words, so the vocabularies may differ.

  Args:
    state: A fresh state.
    model: The `model` part of its config.
    path: What load_model takes: a workdir, whose best checkpoint counts, its
      checkpoints folder, or the folder of one step.

  Returns:
    The state with those parameters and statistics replaced.

  Raises:
    CheckpointError: There is no checkpoint, it is of another kind of network
      or of other convolutions, or no layer of it fits.
  """
  variables, meta = load_model(path)
  other = ml_collections.ConfigDict(meta["config"]).model
  params, statistics = variables["params"], variables["batch_stats"]
  if "relation_core" not in params or other.inputs != model.inputs:
    raise CheckpointError(
      f"config.train.init_from: {path} is no Relation Network on {model.inputs}"
    )
  new_params, new_statistics = dict(state.params), dict(state.batch_stats)
  taken = []
  if model.inputs == "pixels":
    # Later layers are worth nothing without exactly these: all, or an error.
    conv = "conv_encoder"
    fits = _same_shapes(state.params[conv], params[conv])
    if not (fits and _same_shapes(state.batch_stats[conv], statistics[conv])):
      raise CheckpointError(
        f"config.train.init_from: {path} has other convolutions, of "
        f"{tuple(other.conv_channels)} channels; the new network has "
        f"{tuple(model.conv_channels)}"
      )
    new_params[conv], new_statistics[conv] = params[conv], statistics[conv]
    taken.append(conv)
  core, other_core = (
    dict(state.params["relation_core"]),
    params["relation_core"],
  )
  for index in range(min(_question_free(model), _question_free(other))):
    name = f"g_{index}"
    if not _same_shapes(core[name], other_core[name]):
      break
    core[name] = other_core[name]
    taken.append(name)
  new_params["relation_core"] = core
  if not taken:
    raise CheckpointError(
      f"config.train.init_from: {path} has no layer to start from: its g_0 is "
      "of another shape, or the question joins there in one of the networks"
    )
  logging.info(
    "Taken from %s, step %d: %s; all else is fresh",
    path,
    meta["step"],
    ", ".join(taken),
  )
  return dataclasses.replace(
    state, params=new_params, batch_stats=new_statistics
  )


def _question_free(model: ml_collections.ConfigDict) -> int:
  """Returns how many layers of g_theta come before the question."""
  return min(model.question_layer, len(model.g_units))


def _same_shapes(mine: Mapping, theirs: Mapping) -> bool:
  mine, theirs = (
    {name: x.shape for name, x in flatten(tree).items()}
    for tree in (mine, theirs)
  )
  return mine == theirs
