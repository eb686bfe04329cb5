"""Metrics equal hand-made numbers and a plain loop over the questions."""

import json

import numpy as np
import pytest

from rn_jax import metrics
from rn_jax.clevr import (
  ANSWER_CLASSES,
  ANSWER_FUNCTIONS,
  ANSWERS,
  QUESTION_TYPES,
  answer_class,
)

# A vocabulary in order of appearance, as data have it, not in ours.
WORDS = ["yes", "red", "2", "no", "metal", "cube", "small", "blue", "0"]
TYPES = list(QUESTION_TYPES)


def evaluate(true, predicted, /, **kwargs):
  """Scores answers given as words."""
  arguments = {
    "predicted": np.array([WORDS.index(w) for w in predicted]),
    "answer": np.array([WORDS.index(w) for w in true]),
    "loss_per_question": np.ones(len(true)),
    "answers": WORDS,
    "question_type": np.full(len(true), -1),
    "function": np.full(len(true), -1),
    "family": [""] * len(true),
  }
  return metrics.evaluate_predictions(**arguments | kwargs)


def test_answers_that_are_none_are_wrong_and_of_no_kind():
  known = evaluate(["yes", "red"], ["yes", "yes"])
  arrays = {
    "answer": np.array([0, 1, -2]),
    "predicted": np.array([0, 0, 0]),
    "loss_per_question": [1.0, 1.0, 0.0],
    "question_type": np.array([-1, -1, TYPES.index("exist")]),
  }
  result = evaluate(["yes"] * 3, ["yes"] * 3, **arrays)
  assert result["accuracy"] == 1 / 3
  assert result["unknown_answers"] == 1
  assert result["by_question_type"]["exist"] == {"accuracy": 0.0, "count": 1}
  for name in ("loss", "invalid_rate", "by_answer_class", "confusion"):
    assert result[name] == known[name]
  assert "1 true answers are none" in metrics.format_report(result)


def test_by_hand():
  count, query = TYPES.index("count"), TYPES.index("query_attribute")
  exist = TYPES.index("exist")
  result = evaluate(
    ["yes", "yes", "red", "2", "0", "red"],
    ["yes", "no", "blue", "red", "0", "red"],
    loss_per_question=[0.0, 1.0, 2.0, 3.0, 0.0, 0.0],
    question_type=np.array([exist, exist, query, count, count, -1]),
    function=np.array([1, 1, 8, 0, 0, -1]),
    family=["one_hop/1", "one_hop/1", "", "zero_hop/0", "zero_hop/0", ""],
  )
  assert result["accuracy"] == 3 / 6
  assert result["loss"] == 1.0
  assert result["num_examples"] == 6
  assert result["invalid_rate"] == 1 / 6  # "red" to a question of number.
  assert result["by_answer_class"] == {
    "number": {"accuracy": 0.5, "count": 2, "invalid_rate": 0.5},
    "material": {"accuracy": None, "count": 0, "invalid_rate": None},
    "color": {"accuracy": 0.5, "count": 2, "invalid_rate": 0.0},
    "shape": {"accuracy": None, "count": 0, "invalid_rate": None},
    "size": {"accuracy": None, "count": 0, "invalid_rate": None},
    "exist": {"accuracy": 0.5, "count": 2, "invalid_rate": 0.0},
  }
  assert result["by_question_type"] == {
    "count": {"accuracy": 0.5, "count": 2},
    "exist": {"accuracy": 0.5, "count": 2},
    "compare_number": {"accuracy": None, "count": 0},
    "query_attribute": {"accuracy": 0.0, "count": 1},
    "compare_attribute": {"accuracy": None, "count": 0},
  }
  assert list(result["by_function"]) == list(ANSWER_FUNCTIONS)
  assert result["by_function"][ANSWER_FUNCTIONS[8]]["count"] == 1
  assert result["by_family"] == {
    "one_hop/1": {"accuracy": 0.5, "count": 2},
    "zero_hop/0": {"accuracy": 0.5, "count": 2},
  }
  order = ["0", "2", "metal", "blue", "red", "cube", "small", "yes", "no"]
  assert result["confusion"]["answers"] == order
  counts = np.array(result["confusion"]["counts"])
  assert counts[order.index("yes"), order.index("no")] == 1
  assert counts[order.index("2"), order.index("red")] == 1
  assert np.trace(counts) == 3
  assert counts.sum() == 6


def random_split(num=500, seed=0):
  rng = np.random.default_rng(seed)
  answers = list(rng.permutation(ANSWERS))
  function = rng.integers(-1, len(ANSWER_FUNCTIONS), num)
  answer = rng.integers(0, len(answers), num)
  right = rng.random(num) < 0.6
  predicted = np.where(right, answer, rng.integers(0, len(answers), num))
  return {
    "predicted": predicted,
    "answer": answer,
    "loss_per_question": rng.random(num),
    "answers": answers,
    "question_type": np.where(function < 0, -1, function % 5),
    "function": function,
    "family": rng.choice(["a/0", "a/1", "b/0", ""], num),
  }


def test_equals_a_loop_over_the_questions():
  split = random_split()
  result = metrics.evaluate_predictions(**split)
  answers = split["answers"]
  tally = {}

  def add(key, correct, invalid):
    entry = tally.setdefault(key, [0, 0, 0])
    entry[0] += 1
    entry[1] += correct
    entry[2] += invalid

  for i, true in enumerate(split["answer"]):
    mine = split["predicted"][i]
    name = answer_class(answers[true])
    values = (mine == true, answer_class(answers[mine]) != name)
    add("all", *values)
    add(("by_answer_class", name), *values)
    for part, names in (
      ("question_type", TYPES),
      ("function", ANSWER_FUNCTIONS),
    ):
      if split[part][i] >= 0:
        add((f"by_{part}", names[split[part][i]]), *values)
    if split["family"][i]:
      add(("by_family", str(split["family"][i])), *values)

  count, correct, invalid = tally.pop("all")
  assert result["num_examples"] == count
  assert result["accuracy"] == pytest.approx(correct / count)
  assert result["invalid_rate"] == pytest.approx(invalid / count)
  for (part, name), (count, correct, invalid) in tally.items():
    entry = result[part][name]
    assert entry["count"] == count
    assert entry["accuracy"] == pytest.approx(correct / count)
    if part == "by_answer_class":
      assert entry["invalid_rate"] == pytest.approx(invalid / count)


def test_parts_add_up():
  result = metrics.evaluate_predictions(**random_split())
  counts = np.array(result["confusion"]["counts"])
  order = result["confusion"]["answers"]
  assert tuple(order) == ANSWERS
  for name, entry in result["by_answer_class"].items():
    rows = [order.index(a) for a in ANSWER_CLASSES[name]]
    assert counts[rows].sum() == entry["count"]
    valid = counts[np.ix_(rows, rows)].sum()
    assert 1 - valid / entry["count"] == pytest.approx(entry["invalid_rate"])
    right = counts[rows, rows].sum()
    assert right / entry["count"] == pytest.approx(entry["accuracy"])


def test_counts_of_two_halves_merge():
  split = random_split()
  arrays = [k for k, v in split.items() if len(v) == 500]
  whole, *halves = (
    metrics.evaluate_predictions(**split | {k: split[k][s] for k in arrays})
    for s in (slice(None), slice(137), slice(137, None))
  )
  counts = [np.array(r["confusion"]["counts"]) for r in halves]
  assert (sum(counts) == whole["confusion"]["counts"]).all()
  for key in ("accuracy", "loss", "invalid_rate"):
    merged = sum(r[key] * r["num_examples"] for r in halves) / 500
    assert merged == pytest.approx(whole[key])


@pytest.mark.parametrize(
  "split",
  [
    random_split(),
    random_split(0),
    random_split() | {"loss_per_question": np.full(500, np.nan)},
  ],
  ids=["full", "empty", "nan"],
)
def test_result_is_json_and_prints(split):
  result = metrics.evaluate_predictions(**split)
  text = json.dumps(result, allow_nan=False)
  assert json.loads(text) == result
  report = metrics.format_report(result)
  assert "nan" not in report
  assert "number" in report


def test_report_shows_the_numbers():
  report = metrics.format_report(
    evaluate(["yes", "yes", "yes", "red"], ["yes", "yes", "no", "2"])
  )
  lines = [line.split() for line in report.splitlines()]
  assert ["all", "50.00", "%", "4", "25.00", "%"] in lines
  assert ["exist", "66.67", "%", "3", "0.00", "%"] in lines
  assert ["number", "–", "0", "–"] in lines
  assert lines[-1] == ["loss", "1.0000", "nats", "a", "question"]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"answer": np.array([0, -1])}, "without a published answer"),
    ({"predicted": np.array([0, 99])}, "predicted must lie in 0..8"),
    ({"loss_per_question": np.ones(3)}, r"loss_per_question has shape \(3,\)"),
    ({"answers": ["teapot"] * 9}, "'teapot' is not one of CLEVR's"),
  ],
)
def test_unusable_input(change, message):
  with pytest.raises(ValueError, match=message):
    evaluate(["yes", "red"], ["yes", "red"], **change)


def questions(*rows):
  """(tokens, function, answer, family) of rows like ([1, 2], 0, 3, "a/0")."""
  width = max(len(row[0]) for row in rows)
  tokens = [row[0] + [0] * (width - len(row[0])) for row in rows]
  _, function, answer, family = zip(*rows, strict=True)
  return np.array(tokens), np.array(function), np.array(answer), family


TRAIN = questions(
  # One text, seen often and always answered 7, against its family.
  *[([1, 2, 3, 4, 5], 0, 7, "a")] * 40,
  *[([1, 2, 3, 4, 6 + i], 0, 1, "a") for i in range(60)],
  # Another family of the same function.
  *[([9, 8, i], 0, 2, "b") for i in range(30)],
  # One more function, with the most frequent answer of all.
  *[([5, 5, i], 1, 3, "c") for i in range(200)],
)


@pytest.mark.parametrize(
  ("question", "answer"),
  [
    (([1, 2, 3, 4, 5], 0, "a"), 7),  # The text.
    (([1, 2, 3, 4, 5, 0, 0], 0, "a"), 7),  # Padding is no word.
    (([4, 4], 0, "a"), 1),  # The family.
    (([4, 4], 0, "b"), 2),
    (([4, 4], 0, "new"), 1),  # The function.
    (([4, 4], 5, "new"), 3),  # All questions.
  ],
)
def test_question_only_falls_back(question, answer):
  tokens, function, family = question
  val = questions((tokens, function, answer, family))
  assert metrics.question_only_accuracy(*TRAIN, *val) == 1
  wrong = questions((tokens, function, 5, family))
  assert metrics.question_only_accuracy(*TRAIN, *wrong) == 0


def test_question_only_opening_decides_without_programs():
  train = questions(
    *[([1, 2, 3, 4, i], -1, 1, "") for i in range(20)],
    *[([1, 2, 3, 5, i], -1, 2, "") for i in range(20)],
  )
  val = questions(([1, 2, 3, 4, 99], -1, 1, ""), ([1, 2, 3, 5, 99], -1, 2, ""))
  assert metrics.question_only_accuracy(*train, *val) == 1


def test_question_only_is_a_share_and_needs_questions():
  val = questions(([4, 4], 0, 1, "a"), ([4, 4], 0, 2, "a"))
  assert metrics.question_only_accuracy(*TRAIN, *val) == 0.5
  none = [np.zeros((0, 4), int), *np.zeros((2, 0), int), []]
  with pytest.raises(ValueError, match="no validation questions"):
    metrics.question_only_accuracy(*TRAIN, *none)
