"""Arithmetic of a network by hand, and the machine's speed at its best.

Only products count, two operations each; what is computed twice, for padding
or not at all counts as the definition of the network says it should: once for
every ordered pair of objects and every word.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from benchmarks import timing
from rn_jax.models.object_finder import HALVINGS


def forward_flop(
  config: ml_collections.ConfigDict,
  params: dict[str, Any],
  objects: float,
  pairs: float,
  words: float,
  per_scene: int,
) -> float:
  """Returns the floating-point operations of answering a question.

  Args:
    config: The whole config.
    params: Parameters, for their shapes.
    objects: Of a scene, on average.
    pairs: Of a scene, on average: N squared, or less with a mask.
    words: Of a question, on average.
    per_scene: Questions that share their scene's work.

  Raises:
    ValueError: It has parts that are not counted here; benchmarks/cost.py lets
      XLA count any network.
  """
  model = config.model
  if (
    model.head.kind != "pairwise"
    or model.objects == "regions"
    or model.encoder.context.kind != "none"
  ):
    raise ValueError(
      "only networks of pairs are counted, without context blocks and regions; "
      "python -m benchmarks.cost counts the others"
    )
  once, asked = 0.0, 0.0  # a scene, a question
  side = config.data.image_size
  for layer in range(len(model.conv_channels)):
    if "conv_encoder" in params:
      if model.objects != "found" or layer < HALVINGS:
        side = -(-side // 2)
      once += params["conv_encoder"][f"conv_{layer}"]["kernel"].size * side**2
  for part in params.get("object_finder", {}).values():
    once += part["kernel"].size * side**2
  for name, part in params["question_encoder"].items():
    if name != "embedding":
      asked += words * (part["kernel_ih"].size + part["kernel_hh"].size)
  core, joins = params["relation_core"], model.question_layer
  code = model.lstm_units * (1 + model.bidirectional)
  for layer in range(len(model.g_units)):
    kernel = core[f"g_{layer}"]["kernel"]
    units = kernel.shape[1]
    own = kernel.shape[0] - code * (layer == joins)
    # The first layer is applied to objects, half its kernel to each side.
    cost = (objects if layer == 0 else pairs) * own * units
    if layer <= joins:
      once += cost
    else:
      asked += cost
    asked += code * units * (layer == joins)
  for part in params["answer_network"].values():
    asked += part["kernel"].size
  return 2 * (once / per_scene + asked)


def large_product(dtype: str, size: int) -> Callable[[], jax.Array]:
  """Returns a product of square matrices, to be timed."""
  keys = jax.random.split(jax.random.key(0))
  a, b = (jax.random.normal(key, (size, size), dtype) for key in keys)
  return partial(jax.jit(jnp.matmul), a, b)


def matmul_peak(dtype: str, size: int = 0, repeats: int = 5) -> float:
  """Returns the FLOP/s of a large product of square matrices.

  Args:
    dtype: Type of the matrices.
    size: Their side; 0: 2,048 on a CPU, 8,192 elsewhere.
    repeats: Rounds of measuring; the median counts.
  """
  size = size or (2048 if jax.default_backend() == "cpu" else 8192)
  call = large_product(dtype, size)
  seconds = timing.measure({"peak": call}, repeats, f"{dtype} matmul")
  ms = timing.speeds(seconds, 1)["peak"][0]
  return 2 * size**3 / (1e-3 * ms)
