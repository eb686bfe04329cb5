"""How long programs take to trace, lower and compile, for every config.

    python -m benchmarks.compile [--configs=ir_sd] ...

At each config's own sizes, one device; nothing is run, and no compiled program
is kept or found. The update's two stages together are what a first update
waits for.
"""

import time
from collections.abc import Sequence

import jax
from absl import flags

from benchmarks import timing
from benchmarks.cost import batch_shapes
from benchmarks.workload import NUM_ANSWERS, NUM_WORDS, load_config
from rn_jax import parallel
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.steps import (
  init_state,
  make_model,
  make_predict_step,
  make_train_step,
)

CONFIGS = (
  "quickstart",
  *(f"{a}_{b}" for b in ("fp", "sd") for a in ("original", "ir", "avf")),
  *(f"{a}_{b}_reference" for b in ("fp", "sd") for a in ("original", "ir")),
)
EVALUATION_QUESTIONS = 10  # of a scene


def stages(program, *arguments) -> tuple[float, float]:
  """Returns the seconds of tracing with lowering, and of compiling."""
  started = time.perf_counter()
  lowered = program.lower(*arguments)
  at_lower = time.perf_counter()
  lowered.compile()
  return at_lower - started, time.perf_counter() - at_lower


def run(configs: Sequence[str]) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  jax.config.update("jax_enable_compilation_cache", False)
  rows = []
  for name in configs:
    config = load_config(name)
    model = make_model(config, NUM_WORDS, NUM_ANSWERS)
    optimizer_config = config.optimizer
    schedule = make_schedule(optimizer_config, 1000.0, 1000)
    optimizer = make_optimizer(optimizer_config, schedule)
    example = batch_shapes(config, 1, 1)
    state = jax.eval_shape(
      lambda b, m=model, o=optimizer: init_state(m, o, b, 0), example
    )
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    per_scene = config.data.questions_per_scene
    scenes = config.train.batch_size // per_scene
    update = parallel.pmap_train_step(
      make_train_step(model, optimizer, schedule, config)
    )
    answer = parallel.pmap_predict_step(make_predict_step(model))
    for program, arguments in (
      (update, (state, {}, batch_shapes(config, 1, scenes, per_scene))),
      (
        answer,
        (
          variables,
          {},
          batch_shapes(config, 1, config.eval.batch_size, EVALUATION_QUESTIONS),
        ),
      ),
    ):
      what = "update" if program is update else "answers"
      seconds = stages(program, *arguments)
      rows.append((name, what, *seconds, sum(seconds)))
  header = "config", "program", "trace and lower s", "compile s", "sum s"
  timing.print_table(header, rows)
  return rows


if __name__ == "__main__":
  timing.main(
    run, [flags.DEFINE_list("configs", list(CONFIGS), "Config files.")]
  )
