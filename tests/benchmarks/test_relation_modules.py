"""The comparison of relation modules: equal sizes, and what its table says."""

import json

import pytest

from benchmarks import relation_modules as bench
from benchmarks import relation_results
from benchmarks.cost import parameters
from rn_jax.clevr import QUESTION_TYPES

QUESTIONS = 100_000


@pytest.mark.parametrize(
  "row", ["2S-RN", "object relation x4", "object relation + pairs"]
)
def test_rows_have_about_the_parameters_of_the_plain_network(row):
  plain = parameters(bench.make_config("RN", QUESTIONS))
  config = bench.make_config(row, QUESTIONS)
  assert parameters(config) == pytest.approx(plain, rel=0.1)
  assert len(config.data.curriculum) == 3


@pytest.mark.parametrize("row", ["object relation x2", "16 regions + nl"])
def test_rows_from_pixels_have_about_the_parameters_of_the_plain_one(row):
  plain = parameters(bench.make_config("RN", QUESTIONS, "pixels"))
  config = bench.make_config(row, QUESTIONS, "pixels")
  assert config.model.inputs == "pixels"
  assert parameters(config) == pytest.approx(plain, rel=0.1)


def make_result(row, seed, accuracy):
  types = dict.fromkeys(QUESTION_TYPES, accuracy)
  types["compare_number"] = None  # as where no question is of the type
  curve = [(0, 0.0, 0.1), (1000, 2.0, accuracy)]
  return {
    "row": row,
    "seed": seed,
    "accuracy": accuracy,
    "zero_hop": 2 * accuracy / 3,
    "by_type": types,
    "parameters": 1234,
    "multiply_adds": 2.5e6,
    "rate": 5000.0,
    "peak_mib": 700.0 + seed,
    "curve": curve,
  }


def test_table_csv_and_plot_show_all_that_is_finished(tmp_path):
  for row, seed, accuracy in (
    ("RN", 0, 0.5),
    ("RN", 1, 0.7),
    ("2S-RN", 0, 0.4),
  ):
    folder = tmp_path / f"{row}-{QUESTIONS}-{seed}"
    folder.mkdir()
    (folder / "result.json").write_text(
      json.dumps(make_result(row, seed, accuracy))
    )
  results = relation_results.read_results(tmp_path, list(bench.ROWS), QUESTIONS)
  markdown = relation_results.write(results, tmp_path / "table").splitlines()
  assert markdown[2].startswith("| RN | 2 | 60.0 ± 127.1 | 40.0 ± 84.7 |")
  assert markdown[3].startswith("| 2S-RN | 1 | 40.0 | 26.7 | 40.0 | 40.0 | – |")
  assert markdown[3].endswith("| 1,234 | 2.5 M | 5,000 | 700 |")
  assert (tmp_path / "table.csv").read_text().count("\n") == 3
  assert "<svg" in (tmp_path / "table.svg").read_text()


def test_unknown_rows_are_named(tmp_path):
  with pytest.raises(ValueError, match=r"no such rows.*'RNN'"):
    bench.main("", str(tmp_path), "", ["RNN"], 1, 1000, "states")
