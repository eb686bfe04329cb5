"""Exact evaluation: numbers over a whole split, computed on the host.

Every number is a sum over questions divided once, so nothing depends on how
the questions were batched.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from rn_jax.clevr import (
  ANSWER_CLASSES,
  ANSWER_FUNCTIONS,
  QUESTION_TYPES,
  answer_class,
  template_file,
)
from rn_jax.data.vocabulary import UNKNOWN_ANSWER

# How many questions a coarser group counts for against a finer one.
_PRIOR_STRENGTH = 4.0


def evaluate_predictions(
  predicted: np.ndarray,
  answer: np.ndarray,
  loss_per_question: np.ndarray,
  answers: Sequence[str],
  question_type: np.ndarray,
  function: np.ndarray,
  family: Sequence[str] | np.ndarray,
  answer_classes: Mapping[str, Sequence[str]] = ANSWER_CLASSES,
) -> dict:
  """Scores the answers to a split.

  Args:
    predicted: [Q] zero-based answer ids.
    answer: [Q] true zero-based answer ids; -2 for what is none of `answers`,
      which is wrong whatever was predicted.
    loss_per_question: [Q] cross-entropy, nats.
    answers: The answer of each id.
    question_type: [Q] index into clevr.QUESTION_TYPES, -1 unknown.
    function: [Q] index into clevr.ANSWER_FUNCTIONS, -1 unknown.
    family: [Q] names of question families, "" unknown.
    answer_classes: The answers of each class.

  Returns:
    The content of eval_<split>.json. `invalid_rate` is the share of
    predictions outside the class of the true answer ("red" to a question of
    number); it, the loss, the classes and `confusion` leave out the
    `unknown_answers`, which are none of `answers`. What has no questions has
    count 0 and None for its rates. `confusion` holds counts, rows true and
    columns predicted, in the order of its `answers`, which runs through
    answer_classes; `classes` has theirs.

  Raises:
    ValueError: Lengths differ, an id is out of range (a split without answers
      has -1), or an answer is in no class.
  """
  predicted, answer, loss, question_type, function, family = map(
    np.asarray,
    (predicted, answer, loss_per_question, question_type, function, family),
  )
  for name, array in (
    ("predicted", predicted),
    ("loss_per_question", loss),
    ("question_type", question_type),
    ("function", function),
    ("family", family),
  ):
    if array.shape != answer.shape or answer.ndim != 1:
      raise ValueError(
        f"{name} has shape {array.shape}, answer {answer.shape}; "
        "both must be [Q]"
      )
  known = answer != UNKNOWN_ANSWER
  for name, ids in (("predicted", predicted), ("answer", answer[known])):
    if ((ids < 0) | (ids >= len(answers))).any():
      raise ValueError(
        f"{name} must lie in 0..{len(answers) - 1}; -1 marks questions without "
        "a published answer, which cannot be scored"
      )

  classes = list(answer_classes)
  class_of = np.array(
    [classes.index(answer_class(a, answer_classes)) for a in answers]
  )
  true_class = np.where(known, class_of[answer.clip(0)], -1)
  correct = predicted == answer
  invalid = class_of[predicted] != true_class

  by_class = _by_group(true_class, classes, correct)
  for name, rate in _by_group(true_class, classes, invalid).items():
    by_class[name]["invalid_rate"] = rate["accuracy"]
  family_names, family_index = np.unique(family, return_inverse=True)
  by_family = _by_group(family_index, family_names.tolist(), correct)
  by_family.pop("", None)
  template_names, template_index = np.unique(
    [template_file(name) for name in family_names], return_inverse=True
  )
  by_template = _by_group(
    template_index[family_index], template_names.tolist(), correct
  )
  by_template.pop("", None)

  return {
    "accuracy": _mean(correct),
    "loss": _mean(loss[known]),
    "num_examples": len(answer),
    "unknown_answers": int((~known).sum()),
    "invalid_rate": _mean(invalid[known]),
    "by_answer_class": by_class,
    "by_question_type": _by_group(question_type, list(QUESTION_TYPES), correct),
    "by_function": _by_group(function, ANSWER_FUNCTIONS, correct),
    "by_template": by_template,
    "by_family": by_family,
    "confusion": _confusion(
      predicted[known], answer[known], answers, answer_classes
    ),
  }


def _mean(values: np.ndarray) -> float | None:
  mean = float(np.mean(values, dtype=np.float64)) if len(values) else np.nan
  return mean if np.isfinite(mean) else None  # JSON has no NaN.


def _by_group(
  index: np.ndarray, names: Sequence[str], correct: np.ndarray
) -> dict[str, dict]:
  """Accuracy and count of each group; index -1 belongs to none."""
  known = index >= 0
  counts = np.bincount(index[known], minlength=len(names))
  hits = np.bincount(index[known & correct], minlength=len(names))
  return {
    name: {
      "accuracy": int(hit) / int(count) if count else None,
      "count": int(count),
    }
    for name, hit, count in zip(names, hits, counts, strict=True)
  }


def _confusion(
  predicted: np.ndarray,
  answer: np.ndarray,
  answers: Sequence[str],
  answer_classes: Mapping[str, Sequence[str]],
) -> dict:
  size = len(answers)
  counts = np.bincount(answer * size + predicted, minlength=size * size)
  ordered = [a for members in answer_classes.values() for a in members]
  order = sorted(range(size), key=lambda i: ordered.index(answers[i]))
  return {
    "answers": [answers[i] for i in order],
    "classes": [answer_class(answers[i], answer_classes) for i in order],
    "counts": counts.reshape(size, size)[np.ix_(order, order)].tolist(),
  }


def question_only_accuracy(
  tokens: np.ndarray,
  function: np.ndarray,
  answer: np.ndarray,
  family: Sequence[str] | np.ndarray,
  val_tokens: np.ndarray,
  val_function: np.ndarray,
  val_answer: np.ndarray,
  val_family: Sequence[str] | np.ndarray,
) -> float:
  """What counting reaches without looking at the scenes: the level to beat.

  Answers each validation question with the likeliest answer to the training
  questions like it. Likeness has levels: all questions, the same answering
  function, the same family, the same first four words, the same text. Each
  level refines the distribution of the one before: p = (counts + s * p_before)
  / (total + s), so that a text seen often speaks for itself and a new one
  falls back on its family. The true answers' classes are not used.

  Args:
    tokens: [Q, T] training questions, zero-padded behind.
    function: [Q] index into clevr.ANSWER_FUNCTIONS, -1 unknown.
    answer: [Q] zero-based answer ids.
    family: [Q] names of question families, "" unknown.
    val_tokens: [V, T'] the same of the questions to answer.
    val_function: [V].
    val_answer: [V]; only compared with.
    val_family: [V].

  Returns:
    The share of validation questions answered correctly.
  """
  answer, val_answer = np.asarray(answer), np.asarray(val_answer)
  if not len(answer) or not len(val_answer):
    raise ValueError("there are no training or no validation questions")
  num_answers = int(max(answer.max(), val_answer.max())) + 1
  width = max(np.shape(tokens)[1], np.shape(val_tokens)[1])
  p = np.full((len(val_answer), num_answers), 1 / num_answers)
  for keys, val_keys in zip(
    _levels(tokens, function, family, width),
    _levels(val_tokens, val_function, val_family, width),
    strict=True,
  ):
    counts = _answer_counts(keys, answer, val_keys, num_answers)
    p = (counts + _PRIOR_STRENGTH * p) / (
      counts.sum(-1, keepdims=True) + _PRIOR_STRENGTH
    )
  return float((p.argmax(-1) == val_answer).mean())


def _levels(tokens, function, family, width: int) -> list[list]:
  """Keys of each question, coarse to fine; each level divides the last."""
  tokens = np.asarray(tokens, np.int32)
  tokens = np.pad(tokens, ((0, 0), (0, width - tokens.shape[1])))
  function, family = np.asarray(function).tolist(), np.asarray(family).tolist()
  family = list(zip(function, family, strict=True))
  opening = [row.tobytes() for row in tokens[:, :4]]
  text = [row.tobytes() for row in tokens]
  return [
    [0] * len(tokens),
    function,
    family,
    list(zip(family, opening, strict=True)),
    list(zip(family, text, strict=True)),
  ]


def _answer_counts(
  keys: list, answer: np.ndarray, val_keys: list, num_answers: int
) -> np.ndarray:
  """How often training answers the key of each validation question. [V, A]."""
  ids = {}
  rows = np.array([ids.setdefault(key, len(ids)) for key in val_keys])
  seen = np.array([ids.get(key, -1) for key in keys])
  known = seen >= 0
  counts = np.bincount(
    seen[known] * num_answers + answer[known],
    minlength=len(ids) * num_answers,
  )
  return counts.reshape(len(ids), num_answers)[rows]


def format_report(result: dict) -> str:
  """Formats the result of evaluate_predictions as a table for the terminal."""
  lines = [
    f"{'':22}{'accuracy':>10}{'questions':>12}{'invalid':>10}",
    _row("all", result | {"count": result["num_examples"]}),
  ]
  for part in ("by_answer_class", "by_question_type"):
    lines.append(part.removeprefix("by_").replace("_", " "))
    lines += [_row(f"  {name}", entry) for name, entry in result[part].items()]
  lines.append(f"loss {_number(result['loss'], '.4f')} nats a question")
  if result["unknown_answers"]:
    lines.append(
      f"{result['unknown_answers']:,} true answers are none that the network "
      "can give; they count as wrong, and to no kind of answer"
    )
  return "\n".join(lines)


def _row(name: str, entry: dict) -> str:
  row = f"{name:22}{_percent(entry['accuracy'])}{entry['count']:>12,}"
  if "invalid_rate" in entry:
    row += _percent(entry["invalid_rate"])
  return row


def _percent(rate: float | None) -> str:
  text = "–" if rate is None else f"{100 * rate:.2f} %"
  return f"{text:>10}"


def _number(value: float | None, spec: str) -> str:
  return "–" if value is None else format(value, spec)
