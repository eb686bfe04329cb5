"""Reads a question of CLEVR's JSON, in any of the forms it comes in.

The released files, the public generator's and those of other projects differ
in how they write answers, programs and families.
"""

import re
from array import array
from pathlib import Path
from typing import NamedTuple

from data_prep.conversion.clevr_json import SourceError
from data_prep.conversion.growing_vocabulary import Vocabulary
from data_prep.language.programs import (
  InvalidProgramError,
  check_inputs,
  function_of,
)
from rn_jax.clevr import (
  ANSWER_FUNCTIONS,
  QUESTION_TYPES,
  answer_class,
  question_type,
)
from rn_jax.data.records import MAX_QUESTION_CHARACTERS, MAX_QUESTION_WORDS

_FUNCTION_IDS = {name: i for i, name in enumerate(ANSWER_FUNCTIONS)}
_TYPE_IDS = {name: i for i, name in enumerate(QUESTION_TYPES)}
_CLASS_OF_ANSWERS = {
  name: "number" if name == "count" else name.partition("query_")[2] or "exist"
  for name in ANSWER_FUNCTIONS
}


class Question(NamedTuple):
  """One question in the terms of `rn_jax.data.records.decode_scene`."""

  text: str
  tokens: array
  answer: int
  question_index: int
  family: str
  function: int
  question_type: int


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
  text = element.get("question")
  if not isinstance(text, str) or not text.strip():
    raise SourceError(f"{where} has no text")
  if len(text) > MAX_QUESTION_CHARACTERS:
    raise SourceError(
      f"{where} has {len(text):,} characters, more than the"
      f" {MAX_QUESTION_CHARACTERS:,} that a question may have; shorten it, or"
      " leave it out"
    )
  answer = element.get("answer")
  answer_id = function = kind = -1
  kind_of_answer = None
  try:
    tokens = array("H", vocabulary.question(text))
    if answer is not None:
      answer = _answer_text(answer)
      kind_of_answer = answer_class(answer, vocabulary.classes)
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
  if len(tokens) > MAX_QUESTION_WORDS:
    raise SourceError(
      f"{where} has {len(tokens):,} words, more than the"
      f" {MAX_QUESTION_WORDS:,} that a question may have; shorten it, or leave"
      " it out"
    )
  name, is_sure = _answer_function(element.get("program"))
  if name and answer_id >= 0 and kind_of_answer != _CLASS_OF_ANSWERS[name]:
    if is_sure:
      raise SourceError(
        f"{where}: the program ends with {name}, to which {answer!r} is no"
        f" answer ({text!r}); correct one of them, or leave the question out"
      )
    name = None  # the guess was wrong
  if name is not None:
    kind = _TYPE_IDS[question_type(name)]
    function = _FUNCTION_IDS[name]
  family = _family(element)
  return Question(text, tokens, answer_id, number, family, function, kind)


def _answer_text(answer) -> str:
  """Spells an answer as the released files do.

  The public generator leaves booleans and numbers, and tables make 1.0 of 1.
  """
  match answer:
    case bool():
      return "yes" if answer else "no"
    case float() if answer.is_integer():
      return str(int(answer))
    case str():
      text = answer.strip().lower()
      return {"true": "yes", "false": "no"}.get(text, text)
  return str(answer)


def _answer_function(program) -> tuple[str | None, bool]:
  """Returns the function that gives a program's answer, None if not clear.

  Released data list nodes and have it in the last one. Others have trees,
  whose root it is, or names in reading order or in that of execution.

  Returns:
    Its name, and whether the program says so in the form of released data.
  """
  is_sure = False
  if isinstance(program, list) and program:
    if all(isinstance(node, str) for node in program):
      program = " ".join(program)
    else:
      try:
        check_inputs(program)
      except InvalidProgramError:
        return None, False
      program, is_sure = program[-1], True
  if isinstance(program, dict):
    program = function_of(program)
  if not isinstance(program, str):
    return None, False
  names = re.findall(r"[a-z_]+", program.lower())
  ends = {name for name in names[:1] + names[-1:] if name in _FUNCTION_IDS}
  return (ends.pop(), is_sure) if len(ends) == 1 else (None, False)


def _family(element: dict) -> str:
  """Returns the question family; see `rn_jax.data.records.decode_scene`."""
  family, template, within = (
    element.get(name)
    for name in ("question_family_index", "template_filename", "template_index")
  )
  if isinstance(template, str) and template:
    # The public generator's index counts within the template file.
    family = family if within is None else within
    return f"{Path(template).stem}/{family}" if _is_name(family) else ""
  return str(family) if _is_name(family) else ""


def _is_name(family) -> bool:
  return isinstance(family, int | str) and family != ""
