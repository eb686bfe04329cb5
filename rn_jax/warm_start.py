"""A fresh network that begins with layers of a trained one.

Either with what a network makes of pairs before it is asked: an AVF-RN starts
from a 2S-RN so (Messina et al. 2019), whose convolutions and first two layers
of g_theta it takes. Or with all that fits, to go on with other data.
"""

import dataclasses
from collections.abc import Mapping

import jax
import ml_collections
import numpy as np
from absl import logging
from flax.traverse_util import flatten_dict, unflatten_dict

from rn_jax.checkpoint import CheckpointError, load_model
from rn_jax.checkpoint_format import find_steps, flatten
from rn_jax.host.paths import is_address, place
from rn_jax.models.relation.head import make_head
from rn_jax.models.relation_network import picture_objects
from rn_jax.settings import read_config
from rn_jax.train_state import TrainState

PARTS = ("question_free", "all")


def check(config: ml_collections.ConfigDict) -> None:
  """Finds what would keep `warm_start` from starting.

  Raises:
    CheckpointError, ValueError: See warm_start; of checkpoints in an object
      store it is found out only there.
  """
  parts = config.train.init_parts
  if parts not in PARTS:
    raise ValueError(
      f"config.train.init_parts is {parts!r}, not one of {PARTS}"
    )
  for path in _paths(config):
    if not is_address(path):
      find_steps(place(path), f"config.train.init_from={path}")


def _paths(config: ml_collections.ConfigDict) -> list[str]:
  parts = (part.strip() for part in config.train.init_from.split(","))
  return [part for part in parts if part]


def warm_start(
  state: TrainState,
  config: ml_collections.ConfigDict,
  vocabulary: Mapping[str, Mapping[str, int]],
) -> TrainState:
  """Does what config.train.init_from and config.train.init_parts ask for.

  Args:
    state: A fresh state.
    config: Its whole config. `init_from` is what load_model takes: a workdir,
      whose best checkpoint counts, its checkpoints folder, or the folder of
      one step; or several of them with commas between, taken one after another.
    vocabulary: Of the new network.

  Returns:
    The state with parameters and statistics of the trained network.

  Raises:
    CheckpointError: There is no checkpoint, nothing of it fits, or what is
      free of the question is asked of another kind of network.
    ValueError: `init_parts` is none of PARTS.
  """
  check(config)
  parts, fresh = config.train.init_parts, None
  for path in _paths(config):
    variables, meta = load_model(path)
    if parts == "all":
      state, taken, left = _take_all(
        state, variables, meta["vocabulary"], vocabulary
      )
      fresh = left if fresh is None else fresh & left
      if not taken:
        raise CheckpointError(
          f"config.train.init_from: nothing of {path} fits the new network"
        )
    else:
      state, taken = _take_question_free(
        state, config.model, variables, meta, path
      )
    logging.info(
      "Taken from %s, step %d: %s", path, meta["step"], ", ".join(taken)
    )
  if fresh:
    logging.warning("Nothing fits, and is fresh: %s", ", ".join(sorted(fresh)))
  return state


def _take_all(
  state: TrainState,
  variables: Mapping,
  their_vocabulary: Mapping[str, Mapping[str, int]],
  vocabulary: Mapping[str, Mapping[str, int]],
) -> tuple[TrainState, list[str], set[str]]:
  """Takes every array of the same shape, and words and answers by name.

  A word keeps its row of the embedding, and an answer its column of the last
  layer, whatever their numbers are now; new ones are fresh.

  Returns:
    The state, and the names of what was taken and of what was not.
  """
  words, answers = (
    [
      (index, their_vocabulary[part][name])
      for name, index in vocabulary[part].items()
      if name in their_vocabulary.get(part, ())
    ]
    for part in ("questions", "answers")
  )
  # Row 0 of the embedding is the padding; answers are numbered from 0 there.
  words = [(0, 0), *words]
  answers = [(mine - 1, theirs - 1) for mine, theirs in answers]
  by_name = {
    "params/question_encoder/embedding/embedding": (words, 0),
    "params/answer_network/logits/kernel": (answers, -1),
    "params/answer_network/logits/bias": (answers, -1),
  }
  theirs, taken, fresh = flatten(variables), [], set()
  mine = {"params": state.params, "batch_stats": state.batch_stats}

  def take(name: str, array):
    given = theirs.get(name)
    if given is not None and name in by_name:
      pairs, axis = by_name[name]
      to, source = np.array(pairs, int).reshape(-1, 2).T
      new = np.moveaxis(np.array(array), axis, 0)
      old = np.moveaxis(np.asarray(given), axis, 0)
      if new.shape[1:] == old.shape[1:]:
        new[to] = old[source]
        number = len(new) - len(to)
        taken.append(name + (f" ({number} rows fresh)" if number else ""))
        return np.moveaxis(new, 0, axis)
    elif given is not None and given.shape == array.shape:
      taken.append(name)
      return given
    fresh.add(name)
    return array

  found = jax.tree_util.tree_map_with_path(
    lambda path, x: take(
      jax.tree_util.keystr(path, simple=True, separator="/"), x
    ),
    mine,
  )
  return dataclasses.replace(state, **found), taken, fresh


def _take_question_free(
  state: TrainState,
  model: ml_collections.ConfigDict,
  variables: Mapping,
  meta: Mapping,
  path: str,
) -> tuple[TrainState, list[str]]:
  """Takes what is made of pairs before the question joins.

  That is: the convolutions with their BatchNorm statistics, what makes objects
  of their cells, and the parameters of the head that are free of the question
  in either network, up to the first of another shape. None of them reads words,
  so the vocabularies may differ. A network that was asked nothing (the
  multi-label CNN, the finder of objects) gives what comes before pairs.
  """
  params, statistics = variables["params"], variables["batch_stats"]
  other = read_config(meta["config"]).model
  relates = "relation_core" in params
  if other.inputs != model.inputs or not (relates or "conv_encoder" in params):
    raise CheckpointError(
      f"config.train.init_from: {path} is no Relation Network on {model.inputs}"
    )
  new_params, new_statistics = dict(state.params), dict(state.batch_stats)
  taken = []
  if model.inputs == "pixels":
    # Later layers are worth nothing without exactly these: all, or an error.
    conv = "conv_encoder"
    fits = _same_shapes(state.params[conv], params[conv]) and _same_shapes(
      state.batch_stats[conv], statistics[conv]
    )
    if not fits:
      raise CheckpointError(
        f"config.train.init_from: {path} has other convolutions, of "
        f"{_convolutions(other)}; the new network has {_convolutions(model)}"
      )
    wanted = picture_objects(model)
    if relates:
      objects = picture_objects(other)
    elif "object_finder" in params:
      objects = "found"
    else:  # convolutions alone, for cells and for regions, which are fresh
      objects = "cells" if wanted == "found" else wanted
    if objects != wanted:
      raise CheckpointError(
        f"config.train.init_from: {path} relates other objects, config.model."
        f"objects={objects}; the new network has {model.objects}, for "
        "which its layers were not made"
      )
    new_params[conv], new_statistics[conv] = params[conv], statistics[conv]
    taken.append(conv)
    for part in ("object_finder", "region_features"):
      if part in new_params and part in params:
        if not _same_shapes(state.params[part], params[part]):
          raise CheckpointError(
            f"config.train.init_from: {path} has {part} of other shapes"
          )
        new_params[part] = params[part]
        taken.append(part)
  if relates:
    core = dict(flatten_dict(state.params["relation_core"], sep="/"))
    other_core = flatten_dict(params["relation_core"], sep="/")
    theirs = make_head(other).question_free
    for name in make_head(model).question_free:
      mine = _below(core, name)
      if name not in theirs or not _same_shapes(mine, _below(other_core, name)):
        break
      core |= _below(other_core, name)
      taken.append(name)
    new_params["relation_core"] = unflatten_dict(core, sep="/")
  if not taken:
    raise CheckpointError(
      f"config.train.init_from: {path} has no layer to start from: its first "
      "is of another shape, or the question joins there in one of the networks;"
      " --config.train.init_parts=all takes whatever fits"
    )
  state = dataclasses.replace(
    state, params=new_params, batch_stats=new_statistics
  )
  return state, taken


def _convolutions(model: ml_collections.ConfigDict) -> str:
  """Returns what errors say of a network's convolutions."""
  text = f"{tuple(model.conv_channels)} channels"
  # Networks that are asked nothing have no such key.
  if "encoder" not in model or model.encoder.context.kind == "none":
    return text + " without context"
  context = model.encoder.context
  return (
    f"{text} with config.model.encoder.context of kind {context.kind!r}, stages"
    f" {tuple(context.stages)} and ratio {context.ratio}"
  )


def _below(params: Mapping, name: str) -> dict:
  """Returns the parameters of that name, and those within it."""
  return {
    key: array
    for key, array in params.items()
    if key == name or key.startswith(name + "/")
  }


def _same_shapes(mine: Mapping, theirs: Mapping) -> bool:
  mine, theirs = (
    {name: x.shape for name, x in flatten(tree).items()}
    for tree in (mine, theirs)
  )
  return mine == theirs
