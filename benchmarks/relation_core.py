"""The relation core against the way it is usually written.

    python -m benchmarks.relation_core [--inputs=states] [--scenes=32] ...

"concatenated" lays out every pair with its question in memory and applies one
Dense layer after another. Pairwise computes the same from the same
parameters, all scenes at once or in blocks. "off by" is how far results and
gradients are from the concatenated form's in float32: the L2 norm of the
difference over that of the array, for the worst array.
"""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl import flags

from benchmarks import timing
from benchmarks.workload import difference, exact
from rn_jax.models.blocks import map_blocks
from rn_jax.models.relation.pairwise import Pairwise
from rn_jax.models.scene import Scene

# Objects, their features, question width, units of the published networks.
SIZES = {
  "pixels": (64, 26, 128, (256, 256, 256, 256)),
  "states": (10, 18, 256, (512, 512, 512, 512)),
}


def concatenated(params, objects, question, question_layer, dtype):
  """Pairwise's [S, K, D] from pairs and questions laid out in memory."""
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


def factorised(params, objects, question, question_layer, dtype, block):
  """The same from Pairwise, in blocks of so many scenes (0: all)."""
  units = [params[f"g_{index}"]["bias"].size for index in range(len(params))]
  rates = (0.0,) * len(units)
  core = Pairwise(units, rates, question_layer, "sum", bool(block), dtype)

  def relate(scene, question):
    return (), core.apply({"params": params}, scene, question)

  return map_blocks(relate, Scene(objects), question, block)[1]


def gradient(function):
  """Returns the compiled gradient of the results' squares in all arguments."""
  return jax.jit(jax.grad(lambda *x: (function(*x) ** 2).sum(), (0, 1, 2)))


def run(
  inputs: Sequence[str],
  scenes: int,
  questions_per_scene: int,
  question_layer: int,
  units: Sequence[int],
  blocks: Sequence[int],
  dtype: str,
  repeats: int,
  min_seconds: float = 0.3,
) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  rows = []
  for name in inputs:
    n, f, q, published = SIZES[name]
    widths = tuple(map(int, units)) or published
    keys = jax.random.split(jax.random.key(0), 3)
    objects = jax.random.normal(keys[0], (scenes, n, f))
    question = jax.random.normal(keys[1], (scenes, questions_per_scene, q))
    rates = (0.0,) * len(widths)
    core = Pairwise(widths, rates, question_layer, "sum", False, "float32")
    params = core.init(keys[2], Scene(objects), question)["params"]
    arrays = (params, objects, question)
    options = {"question_layer": question_layer, "dtype": dtype}
    variants = {"concatenated": partial(concatenated, **options)}
    for block in map(int, blocks):
      variant = f"blocks of {block}" if block else "all at once"
      variants[variant] = partial(factorised, block=block, **options)
    truth = partial(concatenated, **options | {"dtype": "float32"})
    for direction in ("forward", "forward + backward"):
      change = jax.jit if direction == "forward" else gradient
      expected = change(truth)(*arrays)
      programs, calls, errors = {}, {}, {}
      for variant, function in variants.items():
        programs[variant] = change(function).lower(*arrays).compile()
        calls[variant] = partial(programs[variant], *arrays)
        errors[variant] = difference(calls[variant](), expected)
      if exact(dtype) and not max(errors.values()) < 1e-3:
        raise ValueError(f"{name}, {direction}: results differ: {errors}")
      seconds = timing.measure(calls, repeats, name, min_seconds)
      speeds = timing.speeds(seconds, scenes * questions_per_scene)
      for variant, speed in speeds.items():
        memory = programs[variant].memory_analysis().temp_size_in_bytes
        more = (memory / 2**20, f"{errors[variant]:.0e}")
        rows.append((name, direction, variant, *speed, *more))
  print(f"{scenes} scenes, {questions_per_scene} questions each, {dtype}\n")
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
      flags.DEFINE_list("blocks", ["0", "1"], "Scenes at a time; 0: all."),
      flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type."),
      flags.DEFINE_integer("repeats", 7, "Rounds of measuring."),
    ],
  )
