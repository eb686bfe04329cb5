"""Parameters, arithmetic and memory of every network, by XLA's own count.

    python -m benchmarks.cost

Prints a Markdown table: parameters; GFLOP to answer a question (forward) when
each comes with a scene of its own and when ten share a scene, less the LSTM's
recurrence, which XLA counts once; and the intermediate results of an update of
640 questions in float32, all scenes at once, as compiled for this machine.
Nothing is run. CLEVR's vocabulary: 82 words, 28 answers. States are 10 rows
(12 for the reference's).
"""

import importlib

import jax
import jax.numpy as jnp
import ml_collections

from rn_jax import parallel
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.steps import init_state, make_model, make_train_step

NAMES = (
  "original_fp",
  "ir_fp",
  "avf_fp",
  "original_sd",
  "ir_sd",
  "avf_sd",
  "original_sd_reference",
  "ir_sd_reference",
  "headline_sd",
  "found_fp",
  "object_relation_fp",
)
NUM_WORDS, NUM_ANSWERS, QUESTION_LENGTH = 82, 28, 45


def load_config(name: str) -> ml_collections.ConfigDict:
  """Returns a config, with updates of 640 questions and all scenes at once."""
  config = importlib.import_module(f"configs.{name}").get_config()
  config.model.scenes_per_block = None
  config.train.batch_size = 640
  return config


def batch_shapes(config: ml_collections.ConfigDict, *leading: int) -> dict:
  """Returns the shapes of a batch; `leading` ends in scenes and questions."""
  size, rows = config.data.image_size, config.data.max_objects
  shape, scenes = jax.ShapeDtypeStruct, leading[:-1]
  return {
    "image": shape((*scenes, size, size, 3), jnp.uint8),
    "objects": shape((*scenes, rows, 7), jnp.float32),
    "object_mask": shape((*scenes, rows), bool),
    "question": shape((*leading, QUESTION_LENGTH), jnp.int32),
    "question_length": shape(leading, jnp.int32),
    "answer": shape(leading, jnp.int32),
    "mask": shape(leading, bool),
  }


def variable_shapes(config: ml_collections.ConfigDict, batch: dict) -> dict:
  """Returns the shapes of a network's variables."""
  model = make_model(config, NUM_WORDS, NUM_ANSWERS)
  return jax.eval_shape(model.init, jax.random.key(0), batch)


def parameters(config: ml_collections.ConfigDict) -> int:
  """Returns the number of parameters of a network."""
  shapes = variable_shapes(config, batch_shapes(config, 1, 1))
  return sum(x.size for x in jax.tree.leaves(shapes["params"]))


def flop(config: ml_collections.ConfigDict, per_scene: int) -> float:
  """Returns the floating-point operations per question, by XLA's count.

  Args:
    config: Blocks are not used, for XLA would count one of them.
    per_scene: Questions about each scene.
  """
  config = ml_collections.ConfigDict(config.to_dict())
  config.model.scenes_per_block = None
  batch = batch_shapes(config, 1, per_scene)
  apply = jax.jit(make_model(config, NUM_WORDS, NUM_ANSWERS).apply)
  lowered = apply.lower(variable_shapes(config, batch), batch)
  return lowered.compile().cost_analysis()["flops"] / per_scene


def measure_update(name: str) -> float:
  """Returns the GB of intermediate results of an update on one device."""
  config = load_config(name)
  model = make_model(config, NUM_WORDS, NUM_ANSWERS)
  schedule = make_schedule(config.optimizer, 1000.0, 1000)
  optimizer = make_optimizer(config.optimizer, schedule)
  per_scene = config.data.questions_per_scene
  num_scenes = config.train.batch_size // per_scene
  example = batch_shapes(config, 1, per_scene)
  state = jax.eval_shape(lambda b: init_state(model, optimizer, b, 0), example)
  step = parallel.pmap_train_step(
    make_train_step(model, optimizer, schedule, config)
  )
  batch = batch_shapes(config, 1, num_scenes, per_scene)
  memory = step.lower(state, {}, batch).compile().memory_analysis()
  return memory.temp_size_in_bytes / 1e9


def main() -> None:
  """Prints the table."""
  print(
    "| config | parameters | GFLOP, 1 question a scene | 10 a scene | "
    "GB an update |"
  )
  print("|---|---|---|---|---|")
  for name in NAMES:
    config = load_config(name)
    alone, shared = (flop(config, number) / 1e9 for number in (1, 10))
    memory = measure_update(name)
    print(
      f"| `{name}` | {parameters(config):,} | {alone:.3f} | {shared:.3f} | "
      f"{memory:.1f} |"
    )


if __name__ == "__main__":
  main()
