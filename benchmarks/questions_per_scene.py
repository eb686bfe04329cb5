"""What it saves to ask all questions about a scene together.

    python -m benchmarks.questions_per_scene [--scenes=4] ...

Layers that do not depend on the question run once per scene when its questions
come in one call, and once per question when each comes with a copy of its
scene. Inference; answers are compared before anything is timed.
"""

from collections.abc import Sequence
from functools import partial

import jax
from absl import flags

from benchmarks import timing
from benchmarks.workload import (
  NUM_ANSWERS,
  NUM_WORDS,
  difference,
  exact,
  load_config,
  random_dataset,
)
from rn_jax.data.epochs import group_questions
from rn_jax.data.input_pipeline import make_batch
from rn_jax.steps import make_model

CONFIGS = ("original_fp", "ir_fp", "avf_fp")


def run(
  configs: Sequence[str],
  scenes: int,
  questions_per_scene: int,
  dtype: str,
  repeats: int,
  min_seconds: float = 0.3,
) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  rows = []
  for name in configs:
    config = load_config(name)
    config.model.dtype = dtype
    dataset = random_dataset(config, scenes, questions_per_scene)
    model = make_model(config, NUM_WORDS, NUM_ANSWERS)
    batches = {}
    for variant, per_call in (
      ("each with its scene", 1),
      ("together", questions_per_scene),
    ):
      groups = group_questions(dataset.questions["scene"], per_call)
      batch = make_batch(dataset, groups)
      batches[variant] = jax.device_put(batch)
    together = batches["together"]
    variables = jax.jit(model.init)(jax.random.key(0), together)
    answer = jax.jit(lambda v, batch, model=model: model.apply(v, batch)[0])
    calls = {v: partial(answer, variables, b) for v, b in batches.items()}
    logits = {v: call().reshape(-1, NUM_ANSWERS) for v, call in calls.items()}
    error = difference(*logits.values())
    if exact(dtype) and not error < 1e-4:
      raise ValueError(f"{name}: answers differ by {error:.1e}")
    seconds = timing.measure(calls, repeats, name, min_seconds)
    speeds = timing.speeds(seconds, dataset.num_questions)
    for variant, speed in speeds.items():
      rows.append((name, variant, *speed, f"{error:.0e}"))
  print(f"{scenes} scenes, {questions_per_scene} questions each, {dtype}\n")
  header = "config", "questions", "ms", "questions/s", "times as fast"
  timing.print_table((*header, "difference"), rows)
  return rows


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_list("configs", list(CONFIGS), "Config files."),
      flags.DEFINE_integer("scenes", 4, "Scenes of a call."),
      flags.DEFINE_integer("questions_per_scene", 10, "Questions about each."),
      flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type."),
      flags.DEFINE_integer("repeats", 7, "Rounds of measuring."),
    ],
  )
