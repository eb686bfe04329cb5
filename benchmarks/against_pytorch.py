"""Training and answering, beside a plain PyTorch network.

    python -m benchmarks.against_pytorch [--cases=pixels] [--compile] ...

Both sides compute the same numbers, which is checked first: logits, and the
gradient of the loss, from the same parameters on the same batch. A training
step is forward, backward, clipping by global norm and Adam with L2; an
evaluation step is forward alone, under inference_mode in PyTorch. Both get
their batch as arrays in memory, questions of CLEVR's lengths, and the same
number of threads. "times as fast" is the median over the rounds of the ratio to
eager PyTorch, with its least and greatest value.

Each variant lives in a process of its own, so that no library's threads are
in another's way, and they take turns. Peak memory is the highest resident
size (VmHWM) of that process in five steps, less the resident size just before
the first, when programs are compiled and freed memory is returned.

Needs a CPU and PyTorch: pip install -e '.[pytorch]'.
"""

import contextlib
import ctypes
import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
import torch
from absl import flags

from benchmarks import pytorch_rn, timing
from benchmarks.flops import large_product
from benchmarks.memory import status_kb
from benchmarks.workload import (
  NUM_ANSWERS,
  NUM_WORDS,
  difference,
  load_config,
  random_dataset,
)
from rn_jax import parallel
from rn_jax.data.epochs import group_questions
from rn_jax.data.input_pipeline import make_batch
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.steps import (
  init_state,
  make_model,
  make_predict_step,
  make_train_step,
)


class Case(NamedTuple):
  """A config, and scenes and questions of a batch."""

  config: str
  scenes: int
  per_scene: int


CASES = {
  "pixels 16": Case("original_fp", 16, 1),
  "pixels 64": Case("original_fp", 64, 1),
  "states 64": Case("original_sd", 64, 1),
  "states 640": Case("original_sd", 640, 1),
  "2S-RN 4 x 10": Case("ir_fp", 4, 10),
}


STEPS = ("training", "evaluation")


def make_case(case: Case) -> tuple[ml_collections.ConfigDict, dict, dict]:
  """Returns config, our batch, and one with a scene for every question."""
  config = load_config(case.config)
  config.data.augment = False
  config.data.questions_per_scene = case.per_scene
  dataset = random_dataset(config, case.scenes, case.per_scene)
  ours, alone = (
    make_batch(dataset, group_questions(dataset.questions["scene"], number))
    for number in (case.per_scene, 1)
  )
  return config, ours, alone


def jax_step(case: Case, step: str) -> Callable:
  """Returns rn_jax's call of one of STEPS."""
  config, batch, _ = make_case(case)
  model = make_model(config, NUM_WORDS, NUM_ANSWERS)
  schedule = make_schedule(config.optimizer, 1000.0, 1000)
  optimizer = make_optimizer(config.optimizer, schedule)
  state = jax.jit(lambda: init_state(model, optimizer, batch, 0))()
  state = parallel.replicate(state)
  batch = parallel.split_over_devices(batch)
  if step == "evaluation":
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    predict = parallel.pmap_predict_step(make_predict_step(model))
    predict = predict.lower(variables, {}, batch).compile()
    return lambda: jax.block_until_ready(predict(variables, {}, batch))
  train = parallel.pmap_train_step(
    make_train_step(model, optimizer, schedule, config)
  )
  train = train.lower(state, {}, batch).compile()

  def update():
    nonlocal state
    state, metrics = train(state, {}, batch)
    return jax.block_until_ready(metrics["loss"])

  return update


def torch_step(case: Case, step: str, compiled: bool) -> Callable:
  """Returns PyTorch's call of one of STEPS."""
  config, _, batch = make_case(case)
  network = pytorch_rn.RelationNetwork(config.model, NUM_WORDS, NUM_ANSWERS)
  arguments = pytorch_rn.arguments(batch, config.model)
  call = torch.compile(network) if compiled else network
  if step == "evaluation":
    network.eval()

    def answer():
      with torch.inference_mode():
        return call(*arguments).argmax(-1)

    return answer
  answers = torch.tensor(batch["answer"]).flatten().long()
  optimizer = torch.optim.Adam(
    network.parameters(),
    lr=config.optimizer.initial_learning_rate,
    weight_decay=config.optimizer.weight_decay,
  )

  def update():
    optimizer.zero_grad(set_to_none=True)
    loss = torch.nn.functional.cross_entropy(call(*arguments), answers)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(
      network.parameters(), config.optimizer.clip_norm
    )
    optimizer.step()

  return update


@functools.cache
def disagreement(case: Case) -> tuple[float, float]:
  """Returns how far logits and gradients of the two are from each other.

  As the largest relative L2 norm over the arrays; dropout off.
  """
  config, batch, alone = make_case(case)
  config.model.f_dropout = (0.0,) * len(config.model.f_units)
  model = make_model(config, NUM_WORDS, NUM_ANSWERS)
  model = model.clone(axis_name=None)
  variables = jax.jit(model.init)(jax.random.key(0), batch)
  answers = batch["answer"].reshape(-1)

  @jax.jit
  def differentiate(params):
    def loss(params):
      (logits, _), _ = model.apply(
        {**variables, "params": params},
        batch,
        train=True,
        mutable=["batch_stats"],
      )
      logits = logits.reshape(len(answers), -1)
      chosen = jax.nn.log_softmax(logits)[np.arange(len(answers)), answers]
      return -chosen.mean(), logits

    return jax.grad(loss, has_aux=True)(params)

  gradient, logits = differentiate(variables["params"])
  network = pytorch_rn.RelationNetwork(config.model, NUM_WORDS, NUM_ANSWERS)
  pytorch_rn.load(network, variables, config.model)
  found = network(*pytorch_rn.arguments(alone, config.model))
  torch.nn.functional.cross_entropy(
    found, torch.tensor(answers).long()
  ).backward()
  theirs = {name: p.grad.numpy() for name, p in network.named_parameters()}
  ours = pytorch_rn.tensors({**variables, "params": gradient}, config.model)
  # A bias before BatchNorm has no gradient but for rounding.
  names = [n for n in theirs if not (n.startswith("conv") and "bias" in n)]
  return (
    difference(found.detach().numpy(), np.asarray(logits)),
    difference([theirs[n] for n in names], [ours[n] for n in names]),
  )


def _serve(pipe, variant: str, case: Case, step: str, threads: int) -> None:
  """Makes a step, sends its peak memory in MiB, and runs it when asked."""
  torch.set_num_threads(threads)
  if variant == "rn_jax":
    call = jax_step(case, step)
  else:
    call = torch_step(case, step, compiled=variant == "torch.compile")
  if variant == "torch.compile":
    call()  # which compiles
  ctypes.CDLL(None).malloc_trim(0)
  before = status_kb("VmRSS")
  with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the highest size starts anew from here
  for _ in range(5):
    call()
  pipe.send((status_kb("VmHWM") - before) / 1024)
  while True:
    pipe.recv()
    call()
    pipe.send(None)


@contextlib.contextmanager
def served(
  variant: str, case: Case, step: str, threads: int
) -> Iterator[tuple[Callable[[], None], float]]:
  """Yields a call that takes a step in a process of its own, and peak MiB."""
  context = multiprocessing.get_context("spawn")
  pipe, theirs = context.Pipe()
  process = context.Process(
    target=_serve, args=(theirs, variant, case, step, threads), daemon=True
  )
  process.start()
  theirs.close()
  try:
    peak = pipe.recv()
  except EOFError:
    process.join()
    raise RuntimeError(
      f"{variant}, {step}: exit status {process.exitcode}"
    ) from None

  def call():
    pipe.send(None)
    pipe.recv()

  try:
    yield call, peak
  finally:
    process.terminate()
    process.join()


def product_rates(repeats: int, size: int = 2048) -> dict[str, float]:
  """Returns each library's FLOP/s in a large product of square matrices."""
  a, b = torch.randn(2, size, size)
  calls = {
    "PyTorch": lambda: a @ b,
    "rn_jax": large_product("float32", size),
  }
  seconds = timing.measure(calls, repeats, "products")
  speeds = timing.speeds(seconds, 2 * size**3)
  return {name: speed[1] for name, speed in speeds.items()}


def run(
  cases: Sequence[str],
  steps: Sequence[str],
  compile: bool,
  threads: int,
  repeats: int,
  min_seconds: float = 0.5,
) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  for given, known in ((cases, CASES), (steps, STEPS)):
    if unknown := [name for name in given if name not in known]:
      raise SystemExit(f"error: {unknown[0]!r} is none of {', '.join(known)}")
  print(f"PyTorch {torch.__version__}, {threads} threads, float32\n")
  torch.set_num_threads(threads)
  for name, rate in product_rates(repeats).items():
    print(f"Large products, {name}: {rate / 1e9:,.0f} GFLOP/s\n")
  variants = ["PyTorch", "rn_jax", *["torch.compile"] * compile]
  rows = []
  for name in cases:
    case = CASES[name]
    errors = disagreement(case._replace(scenes=min(case.scenes, 16)))
    # Where rounding flips a ReLU, gradients are off by about 1e-3.
    if not (errors[0] < 1e-4 and errors[1] < 1e-2):
      raise ValueError(f"{name}: logits and gradients are off by {errors}")
    for step in steps:
      calls, peaks = {}, {}
      with contextlib.ExitStack() as stack:
        for variant in variants:
          calls[variant], peaks[variant] = stack.enter_context(
            served(variant, case, step, threads)
          )
        seconds = timing.measure(calls, repeats, f"{name} {step}", min_seconds)
      speeds = timing.speeds(seconds, case.scenes * case.per_scene)
      for variant, speed in speeds.items():
        ratios = [
          a / b
          for a, b in zip(seconds["PyTorch"], seconds[variant], strict=True)
        ]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        rows.append((name, step, variant, *speed, spread, peaks[variant]))
  header = "batch", "step", "variant", "ms", "questions/s", "times as fast"
  timing.print_table((*header, "spread", "peak MiB"), rows)
  return rows


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_list("cases", list(CASES), "What to compare."),
      flags.DEFINE_list("steps", list(STEPS), "Which steps."),
      flags.DEFINE_bool(
        "compile", False, "Also torch.compile; needs a C++ compiler."
      ),
      flags.DEFINE_integer("threads", os.cpu_count(), "Threads of PyTorch."),
      flags.DEFINE_integer("repeats", 9, "Rounds of measuring."),
    ],
  )
