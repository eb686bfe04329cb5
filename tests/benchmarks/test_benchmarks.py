"""The benchmarks run, and what they compare gives equal results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import (
  compile,
  cost,
  data,
  first_update,
  flops,
  input,
  questions_per_scene,
  relation_core,
  scaling,
  timing,
  train_step,
  workload,
)
from rn_jax.host import compile_cache
from rn_jax.steps import make_model


@pytest.mark.parametrize("question_layer", [0, 1])
def test_relation_core_equals_the_concatenated_form(question_layer, capsys):
  # run() itself raises where results or gradients differ.
  rows = relation_core.run(
    inputs=["states"],
    scenes=3,
    questions_per_scene=2,
    question_layer=question_layer,
    units=["8", "8"],
    blocks=["0", "1"],
    dtype="float32",
    repeats=1,
    min_seconds=0.0,
  )
  assert [row[1:3] for row in rows] == [
    (direction, variant)
    for direction in ("forward", "forward + backward")
    for variant in ("concatenated", "all at once", "blocks of 1")
  ]
  assert capsys.readouterr().out.count("\n") == 4 + len(rows)


def test_relation_core_notices_a_difference(monkeypatch):
  concatenated = relation_core.concatenated

  def wrong(params, objects, question, **options):
    return concatenated(params, objects + 1e-2, question, **options)

  monkeypatch.setattr(relation_core, "concatenated", wrong)
  with pytest.raises(ValueError, match="results differ"):
    relation_core.run(["states"], 3, 2, 0, ["8", "8"], ["0"], "float32", 1, 0.0)


def test_questions_per_scene_runs():
  rows = questions_per_scene.run(
    configs=["tiny:avf_fp"],
    scenes=2,
    questions_per_scene=3,
    dtype="float32",
    repeats=1,
    min_seconds=0.0,
  )
  assert [row[1] for row in rows] == ["each with its scene", "together"]


def test_train_step_runs():
  rows = train_step.run(
    configs=["tiny:ir_sd"],
    dtypes=["float32"],
    batch_size=8,
    scenes=4,
    repeats=2,
    min_seconds=0.0,
  )
  assert [row[2] for row in rows] == ["sent", "on the device"]


def test_flop_by_hand_are_those_that_xla_counts():
  for name in ("tiny:original_fp", "tiny:ir_sd"):
    config = workload.load_config(name)
    config.model.scenes_per_block = None
    # XLA counts the LSTM's loop once, so it has nothing to do here.
    config.model.lstm_units = 1
    model = make_model(config, workload.NUM_WORDS, workload.NUM_ANSWERS)
    batch = cost.batch_shapes(config, 1, 1)
    variables = jax.eval_shape(model.init, jax.random.key(0), batch)
    compiled = jax.jit(model.apply).lower(variables, batch).compile()
    objects = 16 if config.model.inputs == "pixels" else 10
    found = flops.forward_flop(
      config, variables["params"], objects, objects**2, 0, 1
    )
    # XLA also counts sums, biases and activations.
    counted = compiled.cost_analysis()["flops"]
    assert 0.8 * counted < found < counted


def test_pytorch_computes_the_same_logits_and_gradients():
  pytest.importorskip("torch", reason="needs PyTorch, the extra `pytorch`")
  from benchmarks import against_pytorch

  for config in ("tiny:original_fp", "tiny:ir_fp", "tiny:original_sd"):
    case = against_pytorch.Case(config, 4, 2 if "ir" in config else 1)
    logits, gradients = against_pytorch.disagreement(case)
    assert logits < 1e-4
    assert gradients < 1e-2


def test_against_pytorch_runs(monkeypatch):
  pytest.importorskip("torch")
  from benchmarks import against_pytorch

  case = against_pytorch.Case("tiny:original_sd", 4, 1)
  monkeypatch.setitem(against_pytorch.CASES, "tiny", case)
  rows = against_pytorch.run(["tiny"], ["evaluation"], False, 1, 1, 0.0)
  assert [row[2] for row in rows] == ["PyTorch", "rn_jax"]
  assert all(row[3] > 0 and row[-1] >= 0 for row in rows)


def test_compile_runs():
  rows = compile.run(["tiny:original_sd"])
  assert [row[1] for row in rows] == ["update", "answers"]
  assert all(row[4] == pytest.approx(sum(row[2:4])) for row in rows)


def test_scaling_runs_and_fits_exponents(tmp_path):
  plot = tmp_path / "scaling.svg"
  rows = scaling.run(
    1, str(plot), tiny=True, min_seconds=0.0, sizes={"objects": (2, 3)}
  )
  assert [row[1] for row in rows] == [2, 3]
  text = plot.read_text()
  assert text.startswith("<?xml")
  assert ">objects in a scene</text>" in text
  assert "#ffffff" not in text  # No paper: it would glare on a dark page.
  sizes = np.array([1, 2, 4, 8, 16])
  assert scaling.exponent(sizes, 3.0 * sizes**2) == pytest.approx(2)


def test_data_runs():
  rows = data.run(scenes=4, workers=1, repeats=1)
  assert {row[0] for row in rows} >= {"generate", "convert pixels"}
  assert all(row[2] > 0 and row[3] > row[2] / 2 for row in rows)


def test_input_runs(monkeypatch):
  monkeypatch.setattr(input, "_DISTINCT", 4)
  reading, waiting = input.run(10, ["states", "pixels"], 10, updates=10)
  # 12 scenes: whole shards of 4.
  size = {row[0]: row[4] for row in reading if row[1] == "open the cache"}
  assert size["pixels"] - 12 * 128 * 128 * 3 / 1e9 < 1e-4
  assert len(waiting) == 6


def test_first_update_runs(tmp_path, monkeypatch):
  monkeypatch.setattr(compile_cache, "enable", lambda _: None)  # not here
  monkeypatch.setattr(first_update, "SCENES", 4)  # as test_train_step_runs
  seconds = first_update.first_update("tiny:ir_sd", 8, str(tmp_path))
  assert all(part > 0 for part in seconds)


def test_speeds_compare_with_the_first_variant_round_by_round():
  seconds = {"slow": [1.0, 2.0, 8.0], "fast": [0.5, 0.5, 4.0]}
  assert timing.speeds(seconds, items=10) == {
    "slow": (2000.0, 5.0, 1.0),
    "fast": (500.0, 20.0, 2.0),
  }


def test_difference_is_that_of_the_worst_array():
  found = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([9.0])}
  expected = {"a": jnp.array([1.5, 2.0]), "b": jnp.array([10.0])}
  assert workload.difference(found, expected) == pytest.approx(0.2)


def test_numbers_are_printed_with_three_digits(capsys):
  timing.print_table(["n", "x"], [["a", 0.012345], ["b", 12345.6], ["c", 1.0]])
  cells = [line.split("|")[2] for line in capsys.readouterr().out.splitlines()]
  assert [cell.strip() for cell in cells[2:]] == ["0.0123", "12,300", "1.00"]
