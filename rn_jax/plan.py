"""What a config makes of its network and its data: the updates of a run."""

from collections.abc import Callable
from typing import NamedTuple

import ml_collections

from rn_jax.data.dataset import Dataset
from rn_jax.data.input_pipeline import make_batch
from rn_jax.data.symmetries import make_symmetries
from rn_jax.data.train_order import TrainOrder, make_train_order
from rn_jax.models import RelationNetwork
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.steps import init_state, make_train_step
from rn_jax.train_state import TrainState


class Plan(NamedTuple):
  """The updates of a run.

  Attributes:
    order: Which questions each of them reads.
    num_steps: How many they are.
    fresh_state: Makes the state before the first.
    step: One of them, as of make_train_step.
  """

  order: TrainOrder
  num_steps: int
  fresh_state: Callable[[], TrainState]
  step: Callable


def make_plan(
  config: ml_collections.ConfigDict, model: RelationNetwork, dataset: Dataset
) -> Plan:
  """Plans the updates of a config on its training split.

  Raises:
    ValueError: The config is unusable, or does not go with the data.
  """
  order = make_train_order(config, dataset)
  num_steps = order.num_steps(config.train.num_epochs)
  schedule = order.paced(
    make_schedule(
      config.optimizer, order.steps_per_epoch, order.units(num_steps)
    )
  )
  optimizer = make_optimizer(config.optimizer, schedule)
  names, vocabulary = config.data.symmetries, dataset.vocabulary
  exchange = make_symmetries(names, vocabulary) if names else None
  example = make_batch(dataset, order(0)[:1])
  return Plan(
    order,
    num_steps,
    lambda: init_state(model, optimizer, example, config.seed),
    make_train_step(model, optimizer, schedule, config, exchange),
  )
