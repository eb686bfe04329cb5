"""What training carries from one step to the next."""

from typing import Any

import jax
from flax import struct


@struct.dataclass
class TrainState:
  """Everything a run needs to go on, and all that a checkpoint stores of it.

  The state has no device axis. Random keys are no part of it: they follow from
  the root seed and `step`.

  Attributes:
    step: [] int32, number of completed updates.
    params: Parameters of the network, a nested dict of arrays.
    batch_stats: Running statistics of BatchNorm; {} for networks without it.
    opt_state: State of the optax optimizer.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
