"""The learning rate falls where the validation loss no longer does.

What optax keeps of it stands last in the optimizer's state, so checkpoints hold
it. A checkpoint is written before its own evaluation has its effect: whoever
goes on from one with a score makes up for that, with the score that it holds.
"""

from typing import Any

import jax
import ml_collections
import numpy as np
import optax
from optax.contrib import ReduceLROnPlateauState, reduce_on_plateau


def _reducer(
  config: ml_collections.ConfigDict,
) -> optax.GradientTransformationExtraArgs:
  if not (0 < config.decay_rate < 1 and config.patience >= 1):
    raise ValueError(
      "the schedule 'plateau' needs a config.optimizer.decay_rate between 0 "
      f"and 1 and a patience from 1, not {config.decay_rate} and "
      f"{config.patience}"
    )
  if config.final_learning_rate > config.learning_rate:
    raise ValueError(
      f"config.optimizer.final_learning_rate is {config.final_learning_rate}, "
      f"above the learning_rate of {config.learning_rate}"
    )
  return reduce_on_plateau(
    config.decay_rate,
    config.patience,
    min_scale=config.final_learning_rate / config.learning_rate,
  )


def scale_by_plateau(
  config: ml_collections.ConfigDict,
) -> optax.GradientTransformation:
  """Makes the last of the optimizer's chain; updates leave its state alone.

  Args:
    config: The `optimizer` part of a config.

  Raises:
    ValueError: Its decay_rate, patience or final rate are out of range.
  """
  init = _reducer(config).init

  def update(updates, state, params=None):
    del params
    return jax.tree.map(lambda x: state.scale * x, updates), state

  return optax.GradientTransformation(init, update)


def rate_scale(opt_state: Any) -> Any:
  """Returns what the schedule's rate is multiplied by."""
  last = opt_state[-1]
  return last.scale if isinstance(last, ReduceLROnPlateauState) else 1.0


def after_evaluation(
  opt_state: Any, config: ml_collections.ConfigDict, loss: float | None
) -> Any:
  """Returns the optimizer's state once an evaluation has had its effect.

  Args:
    opt_state: Of any optimizer; without the schedule nothing changes.
    config: The `optimizer` part of the config.
    loss: On the validation split; None: it was not finite.
  """
  last = opt_state[-1]
  if not isinstance(last, ReduceLROnPlateauState):
    return opt_state
  value = np.float32(np.nan if loss is None else loss)
  _, new = _reducer(config).update({}, jax.device_get(last), value=value)
  return (*opt_state[:-1], jax.device_get(new))
