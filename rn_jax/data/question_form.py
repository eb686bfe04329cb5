"""The forms in which CLEVR's JSON and others tell of a question.

The released files, the public generator's and those of other projects differ
in how they write answers, programs and families.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rn_jax.clevr import (
  ANSWER_CLASSES,
  ANSWER_FUNCTIONS,
  QUESTION_TYPES,
  question_type,
  tokenize,
)
from rn_jax.data.records import MAX_QUESTION_CHARACTERS, MAX_QUESTION_WORDS

_FUNCTION_IDS = {name: i for i, name in enumerate(ANSWER_FUNCTIONS)}
_TYPE_IDS = {name: i for i, name in enumerate(QUESTION_TYPES)}
_CLASS_OF_ANSWERS = {
  name: "number" if name == "count" else name.partition("query_")[2] or "exist"
  for name in ANSWER_FUNCTIONS
}


class InvalidProgramError(ValueError):
  """A program has no answer on this scene, or is no CLEVR program."""


class Kind(NamedTuple):
  """What kind of question one is; see `rn_jax.data.records.decode_scene`."""

  family: str
  function: int
  question_type: int


def question_kind(
  element: dict,
  answer: str | None,
  classes: Mapping[str, Sequence[str]] = ANSWER_CLASSES,
) -> Kind:
  """Returns what a question's JSON tells of its kind.

  Args:
    element: The question as in the JSON.
    answer: Its answer, as `answer_text` spells it; None: not to be compared
      with the program.
    classes: The answers of each class.

  Raises:
    ValueError: The answer is none to what its program asks.
  """
  name, is_sure = _answer_function(element.get("program"))
  fits = classes[_CLASS_OF_ANSWERS[name]] if name else ()
  if name and answer is not None and answer not in fits:
    if is_sure:
      raise ValueError(
        f"the program ends with {name}, to which {answer!r} is no answer"
        f" ({element.get('question')!r}); correct one of them, or leave the"
        " question out"
      )
    name = None  # the guess was wrong
  family = _family(element)
  if name is None:
    return Kind(family, -1, -1)
  return Kind(family, _FUNCTION_IDS[name], _TYPE_IDS[question_type(name)])


def question_text(element: dict) -> str:
  """Returns the text of a question's JSON.

  Raises:
    ValueError: There is none, or it is too long; to be read behind a name of
      the question.
  """
  text = element.get("question")
  if not isinstance(text, str) or not text.strip():
    raise ValueError("has no text")
  # There are never more words than characters.
  is_long = len(text) > MAX_QUESTION_WORDS
  for unit, found, most in (
    ("characters", len(text), MAX_QUESTION_CHARACTERS),
    ("words", len(tokenize(text)) if is_long else 0, MAX_QUESTION_WORDS),
  ):
    if found > most:
      raise ValueError(
        f"has {found:,} {unit}, more than the {most:,} that a question may"
        " have; shorten it, or leave it out"
      )
  return text


def answer_text(answer) -> str:
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


def function_of(node: dict) -> str | None:
  """`function` in the released data, `type` in the public generator's."""
  return node.get("function") or node.get("type")


def check_inputs(program: list) -> None:
  """Checks that a program's nodes take what nodes before them yield.

  Args:
    program: Nodes in CLEVR's layout; those without `inputs` take nothing.

  Raises:
    InvalidProgramError: There is none, or one is no node, or takes what a later
      one yields, or itself.
  """
  if not isinstance(program, list) or not program:
    raise InvalidProgramError("a program is a list of nodes")
  for position, node in enumerate(program):
    inputs = node.get("inputs", []) if isinstance(node, dict) else None
    if not isinstance(inputs, list) or not all(
      type(i) is int and 0 <= i < position for i in inputs
    ):
      raise InvalidProgramError(
        f"node {position}: its inputs are no earlier nodes"
      )


def program_length(program) -> int:
  """Returns the number of functions of a program in a list, else -1."""
  return len(program) if isinstance(program, list) and program else -1


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
