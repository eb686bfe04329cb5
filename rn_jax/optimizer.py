"""Learning-rate schedules and the optimiser chain."""

import jax
import jax.numpy as jnp
import ml_collections
import optax
import optax.contrib
from absl import logging
from optax.contrib import MuonDimensionNumbers

from rn_jax.plateau import scale_by_plateau

SCHEDULES = (
  "doubling",
  "constant",
  "cosine",
  "restarts",
  "exponential",
  "step",
  "plateau",
)

# Of a direction: as large as Adam's usually are, so that rates mean the same.
_MUON_RMS = 0.2


def _muon() -> optax.GradientTransformation:
  """Muon (Jordan 2024) for the kernels between hidden layers, Adam else."""

  def matrices(params):
    def kind(path, x):
      module = path[-2].key if len(path) > 1 else ""
      hidden = x.ndim == 2 and module not in ("embedding", "logits")
      return MuonDimensionNumbers() if hidden else None

    return jax.tree_util.tree_map_with_path(kind, params)

  muon = optax.contrib.muon(
    1.0,
    muon_weight_dimension_numbers=matrices,
    consistent_rms=_MUON_RMS,
  )
  return optax.chain(muon, optax.scale(-1.0))  # it goes down, by a rate of 1


# From a gradient to the direction of an update, by name.
_DIRECTIONS = {
  "adam": lambda config: optax.scale_by_adam(),
  "lion": lambda config: optax.scale_by_lion(),
  "muon": lambda config: _muon(),
  "nadam": lambda config: optax.scale_by_adam(nesterov=True),
  "rmsprop": lambda config: optax.scale_by_rms(),
  "sgd": lambda config: optax.trace(config.momentum),
}


def doubling_schedule(
  initial: float, target: float, steps_per_epoch: float, double_every: float
) -> optax.Schedule:
  """Doubles the rate every few epochs while it is below a target.

  The reference's slow start: with epochs counted from 1, the rate doubles at
  every multiple of `double_every` as long as it is below `target` before the
  doubling. So it ends at the first power of two times `initial` that reaches
  the target: 5e-6 towards 5e-4 ends at 6.4e-4.

  Args:
    initial: Rate of the first epoch.
    target: Rate at which doubling stops.
    steps_per_epoch: Updates per epoch; need not be whole.
    double_every: Epochs between doublings; below 1, the first is at the start.

  Returns:
    A function from completed updates to the rate.

  Raises:
    ValueError: A rate or the period is not positive.
  """
  if initial <= 0 or target <= 0 or double_every <= 0:
    raise ValueError(
      "the doubling schedule needs positive initial_learning_rate, "
      f"learning_rate and double_every, not {initial}, {target}, {double_every}"
    )
  doublings = 0
  while initial * 2**doublings < target:
    doublings += 1

  def schedule(step):
    epoch = step / steps_per_epoch + min(1.0, double_every)  # counted from 1
    passed = jnp.minimum(jnp.floor(epoch / double_every), doublings)
    return initial * 2.0**passed

  return schedule


def make_schedule(
  config: ml_collections.ConfigDict, steps_per_epoch: float, num_steps: int
) -> optax.Schedule:
  """Makes the schedule that config.optimizer names.

  Args:
    config: The `optimizer` part of a config.
    steps_per_epoch: Updates per epoch.
    num_steps: Updates of the whole run.

  Returns:
    A function from completed updates to the learning rate; for "plateau" what
    plateau.py multiplies.

  Raises:
    ValueError: The name is unknown.
  """
  peak = config.learning_rate
  if config.schedule == "doubling":
    doubling = doubling_schedule(
      config.initial_learning_rate, peak, steps_per_epoch, config.double_every
    )
    if config.clamp:
      return lambda step: jnp.minimum(doubling(step), peak)
    return doubling
  if config.schedule in ("constant", "plateau"):
    return optax.constant_schedule(peak)
  period = config.decay_epochs * steps_per_epoch
  if config.schedule in ("exponential", "step", "restarts") and not period > 0:
    raise ValueError(
      f"config.optimizer.decay_epochs is {config.decay_epochs}, must be above "
      f"0 for the schedule {config.schedule!r}"
    )
  if config.schedule in ("exponential", "step"):
    if not 0 < config.decay_rate <= 1:
      raise ValueError(
        f"config.optimizer.decay_rate is {config.decay_rate}, must be above 0 "
        "and at most 1"
      )
    return optax.exponential_decay(
      peak, period, config.decay_rate, staircase=config.schedule == "step"
    )
  if config.schedule == "restarts":
    fall = optax.cosine_decay_schedule(
      peak, period, config.final_learning_rate / peak
    )
    return lambda step: fall(step % period)
  if config.schedule == "cosine":
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if warmup >= num_steps:
      logging.warning(
        "The learning rate still rises when training ends: config.optimizer."
        "warmup_epochs=%g are %d updates, the whole run %d",
        config.warmup_epochs,
        warmup,
        num_steps,
      )
    hold = round(config.hold_epochs * steps_per_epoch)
    if hold and warmup < num_steps <= warmup + hold:
      logging.warning(
        "The learning rate never falls: config.optimizer.hold_epochs=%g are %d "
        "updates, the whole run %d",
        config.hold_epochs,
        hold,
        num_steps,
      )
    last = config.final_learning_rate
    fall = optax.cosine_decay_schedule(
      peak, max(num_steps - warmup - hold, 1), last / peak
    )
    rise = optax.constant_schedule(peak)
    if warmup:
      rise = optax.linear_schedule(0.0, peak, warmup)
    return optax.join_schedules([rise, fall], [warmup + hold])
  raise ValueError(
    f"config.optimizer.schedule is {config.schedule!r}, not one of {SCHEDULES}"
  )


def make_optimizer(
  config: ml_collections.ConfigDict, schedule: optax.Schedule
) -> optax.GradientTransformation:
  """Makes the chain: clip by global norm, L2, direction, learning rate.

  L2 is added to the clipped gradient of every parameter, biases and BatchNorm
  included, as in the reference; with decoupled_weight_decay to the direction,
  which makes AdamW of Adam.

  Raises:
    ValueError: There is no optimizer of that name.
  """
  if config.name not in _DIRECTIONS:
    raise ValueError(
      f"config.optimizer.name is {config.name!r}, none of "
      f"{', '.join(_DIRECTIONS)}"
    )
  direction = _DIRECTIONS[config.name](config)
  decay = optax.add_decayed_weights(config.weight_decay)
  steps = []
  if config.clip_norm:
    steps.append(optax.clip_by_global_norm(config.clip_norm))
  if config.decoupled_weight_decay:
    steps += [direction, decay]
  else:
    steps += [decay, direction]
  steps.append(optax.scale_by_learning_rate(schedule))
  if config.schedule == "plateau":
    steps.append(scale_by_plateau(config))
  return optax.chain(*steps)
