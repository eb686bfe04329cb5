"""Parameters and arithmetic of every network, from the compiled program.

    python -m benchmarks.cost

Prints a Markdown table: parameters, and GFLOP to answer a question (forward)
when each comes with a scene of its own and when ten share a scene. CLEVR's
vocabulary: 82 words, 28 answers. States are 10 rows (12 for the reference's).
"""

import importlib

import jax
import jax.numpy as jnp

from rn_jax.steps import make_model

NAMES = (
  "original_fp",
  "ir_fp",
  "avf_fp",
  "original_sd",
  "ir_sd",
  "avf_sd",
  "original_sd_reference",
  "ir_sd_reference",
)
NUM_WORDS, NUM_ANSWERS, QUESTION_LENGTH = 82, 28, 45


def measure(name: str, per_scene: int) -> tuple[int, float]:
  """Returns the parameters and the GFLOP per question of a config."""
  config = importlib.import_module(f"configs.{name}").get_config()
  config.model.scenes_per_block = 0
  model = make_model(config, NUM_WORDS, NUM_ANSWERS)
  size, rows = config.data.image_size, config.data.max_objects
  shape = jax.ShapeDtypeStruct
  batch = {
    "image": shape((1, size, size, 3), jnp.uint8),
    "objects": shape((1, rows, 7), jnp.float32),
    "object_mask": shape((1, rows), bool),
    "question": shape((1, per_scene, QUESTION_LENGTH), jnp.int32),
    "question_length": shape((1, per_scene), jnp.int32),
  }
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)
  cost = jax.jit(model.apply).lower(variables, batch).compile().cost_analysis()
  parameters = sum(x.size for x in jax.tree.leaves(variables["params"]))
  return parameters, cost["flops"] / per_scene / 1e9


def main() -> None:
  """Prints the table."""
  print("| config | parameters | GFLOP, 1 question a scene | 10 a scene |")
  print("|---|---|---|---|")
  for name in NAMES:
    parameters, alone = measure(name, 1)
    _, shared = measure(name, 10)
    print(f"| `{name}` | {parameters:,} | {alone:.3f} | {shared:.3f} |")


if __name__ == "__main__":
  main()
