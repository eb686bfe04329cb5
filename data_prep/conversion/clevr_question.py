"""Reads a question of CLEVR's JSON, in any of the forms it comes in."""

from array import array
from typing import NamedTuple

from data_prep.conversion.growing_vocabulary import Vocabulary
from rn_jax.clevr import answer_class
from rn_jax.data.clevr_json import SourceError
from rn_jax.data.question_form import (
  answer_text,
  program_length,
  question_kind,
  question_text,
)


class Question(NamedTuple):
  """One question in the terms of `rn_jax.data.records.decode_scene`."""

  text: str
  tokens: array
  answer: int
  question_index: int
  family: str
  function: int
  question_type: int
  program_length: int


def read_question(
  element: dict, number: int, vocabulary: Vocabulary, where: str
) -> Question:
  """Returns a question of CLEVR's JSON in the terms of the records.

  Args:
    element: The question as in the JSON.
    number: Its position there, which becomes its question_index.
    vocabulary: Gives the indices of words and answers; may grow.
    where: Names the question in errors.

  Raises:
    SourceError: Something in it is unusable or not in a frozen vocabulary, or
      its answer is none to its program.
  """
  try:
    text = question_text(element)
  except ValueError as error:
    raise SourceError(f"{where} {error}") from None
  answer = element.get("answer")
  answer_id = -1
  try:
    tokens = array("H", vocabulary.question(text))
    if answer is not None:
      answer = answer_text(answer)
      answer_class(answer, vocabulary.classes)
      answer_id = vocabulary.answer(answer) - 1
  except KeyError as error:
    raise SourceError(
      f"{where}: {error} is not in the vocabulary ({text!r}, answer"
      f" {answer!r}). To number it, convert all splits into a new folder and"
      " name this one among those that give the vocabulary"
      " (--vocabulary_splits=train,val), or give a vocabulary file that has it"
      " (--vocabulary=FILE). A network that was trained without it cannot be"
      " asked this: for such a one, leave the question out"
    ) from None
  except ValueError as error:
    raise SourceError(f"{where}: {error}") from None
  try:
    kind = question_kind(
      element, answer if answer_id >= 0 else None, vocabulary.classes
    )
  except ValueError as error:
    raise SourceError(f"{where}: {error}") from None
  length = program_length(element.get("program"))
  return Question(text, tokens, answer_id, number, *kind, length)
