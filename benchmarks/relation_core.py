"""The relation core against the way it is usually written.

    python -m benchmarks.relation_core [--inputs=states] [--scenes=32] ...

"concatenated" lays out every pair with its question in memory and applies one
Dense layer after another. RelationCore computes the same from the same
parameters, all scenes at once or one by one. Results and gradients are
compared before anything is timed.
"""

import statistics
from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl import flags

from benchmarks import timing
from rn_jax.models.relation_core import RelationCore

# Objects, their features, question width, units of the published networks.
SIZES = {
  "pixels": (64, 26, 128, (256, 256, 256, 256)),
  "states": (10, 18, 256, (512, 512, 512, 512)),
}


def concatenated(params, objects, question, question_layer, dtype):
  """RelationCore's [S, K, D] from pairs and questions laid out in memory."""
  s, n, f = objects.shape
  k = question.shape[1]
  objects = jnp.repeat(objects.astype(dtype), k, 0)
  question = question.astype(dtype).reshape(s * k, 1, 1, -1)
  pairs = (s * k, n, n)
  left = jnp.broadcast_to(objects[:, None], (*pairs, f))
  right = jnp.broadcast_to(objects[:, :, None], (*pairs, f))
  x = jnp.concatenate([left, right], -1)
  for index in range(len(params)):
    if index == question_layer:
      asked = jnp.broadcast_to(question, (*pairs, question.shape[-1]))
      x = jnp.concatenate([x, asked], -1)
    layer = params[f"g_{index}"]
    dense = nn.Dense(layer["bias"].size, dtype=dtype)
    x = nn.relu(dense.apply({"params": layer}, x))
  return x.astype(jnp.float32).sum((1, 2)).reshape(s, k, -1)


def compile_passes(
  name, scenes, questions_per_scene, question_layer, units, dtype
):
  """Returns for forward and backward the variants compiled, and the truth.

  Returns:
    {pass: ({variant: compiled function}, its arguments, what they should give:
    the result of the concatenated form in float32)}.
  """
  n, f, q, published = SIZES[name]
  units = tuple(map(int, units)) or published
  keys = jax.random.split(jax.random.key(0), 4)
  objects = jax.random.normal(keys[0], (scenes, n, f))
  question = jax.random.normal(keys[1], (scenes, questions_per_scene, q))
  shape = (scenes, questions_per_scene, units[-1])
  weights = jax.random.normal(keys[2], shape)

  def core(block):
    rates = (0.0,) * len(units)
    return RelationCore(units, rates, question_layer, "sum", block, dtype)

  def ours(block):
    return lambda params, objects, question: core(block).apply(
      {"params": params}, objects, None, question
    )

  def theirs(dtype):
    return lambda *arrays: concatenated(*arrays, question_layer, dtype)

  def gradient(function):
    return jax.grad(lambda *x: (function(*x) * weights).sum(), (0, 1, 2))

  params = jax.jit(core(0).init)(keys[3], objects, None, question)["params"]
  arrays = (params, objects, question)
  variants = {
    "concatenated": theirs(dtype),
    "all at once": ours(0),
    "one by one": ours(1),
  }
  return {
    direction: (
      {
        variant: jax.jit(change(function)).lower(*arrays).compile()
        for variant, function in variants.items()
      },
      arrays,
      jax.jit(change(theirs("float32")))(*arrays),
    )
    for direction, change in (
      ("forward", lambda function: function),
      ("forward + backward", gradient),
    )
  }


def run(inputs: Sequence[str], repeats: int, **case) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  rows = []
  for name in inputs:
    for direction, part in compile_passes(name, **case).items():
      compiled, arrays, truth = part
      calls = {v: partial(f, *arrays) for v, f in compiled.items()}
      errors = {v: timing.difference(f(), truth) for v, f in calls.items()}
      if timing.exact(case["dtype"]) and not max(errors.values()) < 1e-4:
        raise ValueError(f"{name}, {direction}: results differ: {errors}")
      seconds = timing.measure(calls, repeats)
      for variant, samples in seconds.items():
        time = statistics.median(samples)
        memory = compiled[variant].memory_analysis().temp_size_in_bytes
        questions = case["scenes"] * case["questions_per_scene"]
        ratio = timing.speedup(seconds["concatenated"], samples)
        numbers = (1e3 * time, questions / time, ratio, memory / 2**20)
        rows.append(
          (name, direction, variant, *numbers, f"{errors[variant]:.0e}")
        )
  print(*(f"{key}={value}" for key, value in case.items()), "\n")
  header = "inputs", "pass", "variant", "ms", "questions/s", "times as fast"
  timing.print_table((*header, "temporary MiB", "off by"), rows)
  return rows


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_list("inputs", list(SIZES), "pixels, states or both."),
      flags.DEFINE_integer("scenes", 32, "Scenes of a batch."),
      flags.DEFINE_integer("questions_per_scene", 1, "Questions about each."),
      flags.DEFINE_integer("question_layer", 0, "0: RN, 2: two-stage RN."),
      flags.DEFINE_list("units", [], "Widths; default: the published ones."),
      flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type."),
      flags.DEFINE_integer("repeats", 7, "Rounds of measuring."),
    ],
  )
