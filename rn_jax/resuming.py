"""What a run finds in its workdir: another run, or its own to go on with."""

import contextlib
import dataclasses
import json
from pathlib import Path

import jax
import ml_collections
from absl import logging
from flax.traverse_util import flatten_dict

from rn_jax.checkpoint import Checkpointer, CheckpointError
from rn_jax.data.dataset import Dataset
from rn_jax.data.train_order import TrainOrder
from rn_jax.host.exclusive import exclusive
from rn_jax.plateau import after_evaluation
from rn_jax.settings import read_config
from rn_jax.train_state import TrainState

# What decides which questions an update reads; a resumed run must keep it.
_ORDER_KEYS = (
  "seed",
  "train.batch_size",
  "train.double_batch_every",
  "train.max_batch_size",
  "train.fraction",  # of the images; the multi-label CNN's alone
  "data.questions_per_scene",
  "data.curriculum",
  "data.balance_answers",
  "data.own_shards",
)


def alone(workdir: Path) -> contextlib.AbstractContextManager[None]:
  """Keeps other runs out of a workdir, which the processes of one share."""
  if jax.process_index() > 0:
    return contextlib.nullcontext()
  return exclusive(workdir / ".train.lock")


def restore(
  checkpointer: Checkpointer,
  like: TrainState,
  config: ml_collections.ConfigDict,
  dataset: Dataset,
  order: TrainOrder,
  workdir: Path,
) -> TrainState | None:
  """Returns the state to go on from, or None for a fresh run.

  The order is told which of its stages ended early.

  Raises:
    CheckpointError: `workdir` holds a run on other records, or one whose
      updates read the data in another order.
  """
  restored = checkpointer.restore_latest(like)
  if restored is None:
    return None
  state, meta = restored
  if meta["data_sha256"] != dataset.sha256:
    raise CheckpointError(
      f"{workdir} holds a run on other records; name those, or start anew in "
      "another folder"
    )
  old, new = (
    flatten_dict(json.loads(read_config(c).to_json()), sep=".")
    for c in (meta["config"], config.to_dict())
  )
  changed = {
    key: f"{key} from {old.get(key)} to {value}"
    for key, value in new.items()
    if old.get(key) != value
  }
  for key in _ORDER_KEYS:
    if key in changed:
      raise CheckpointError(
        f"{workdir} holds a run that reads its data in another order: "
        f"{changed[key]}. Set it back, or start anew in another folder"
      )
  if scores := meta["metrics"]:
    opt_state = after_evaluation(
      state.opt_state, config.optimizer, scores.get("loss")
    )
    state = dataclasses.replace(state, opt_state=opt_state)
  try:
    order.restore(meta.get("order"))
  except ValueError as error:
    raise CheckpointError(
      f"{workdir}: {error}, or start anew in another folder"
    ) from None
  logging.info("Resuming after update %d", int(state.step))
  if changed:
    logging.warning("Changed since then: %s", "; ".join(changed.values()))
  return state
