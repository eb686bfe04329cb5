"""Finds the program of a question that a template could have asked.

Templates are read the other way round. Question and phrasings lose what only
makes them sound different, and each phrasing becomes a regular expression over
the question's words, whose groups are the values of slots.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping

from data_prep.language.in_words import Step, in_words
from data_prep.language.options import Filling
from data_prep.language.programs import (
  InvalidProgramError,
  execute,
  scene_table,
)
from data_prep.language.reading import Language, load_language
from data_prep.language.search import build_program
from data_prep.language.templates import SHORT_FORMS, Description, Template
from rn_jax.clevr import ATTRIBUTES, RELATIONS, tokenize

_VALUES = {
  "Z": ATTRIBUTES["size"],
  "C": ATTRIBUTES["color"],
  "M": ATTRIBUTES["material"],
  "S": (*ATTRIBUTES["shape"], "thing"),
  "R": RELATIONS,
}
_TOKEN = re.compile(r"<[A-Z]\d*>s?|[\w'-]+|[.,;:!?()]")
# Ways to say the same, in order; the words are small, with spaces around them.
_ALIKE = [
  (re.compile(pattern), text)
  for pattern, text in (
    # In CLEVR's scenes all is visible.
    (r"(?<= )(?:visible|both|either|other|that (?:are|is)|made of|there) ", ""),
    (r" (?:an|any|another) ", " a "),
    (r" object(s?) ", r" thing\1 "),
    (r" what number of ", " how many "),
    (r" of the same ", " the same "),
    (r" it (?:has|is) what (\w+) ", r" what is its \1 "),
    (r" what (\w+) (?:does it have|is it) ", r" what is its \1 "),
    (r" what (\w+) is the ", r" what is the \1 of the "),
    (r" than are ", " than "),
    (r" than that of ", " than the number of "),
  )
]
# No question of the templates has half as many.
_MAX_WORDS = 100


def right_answer(scene: dict, question: str) -> tuple[str, list[Step]] | None:
  """Returns the right answer to a question, and how it is found.

  Args:
    scene: In CLEVR's JSON, with its relationships.
    question: In English; case does not matter.

  Returns:
    None where none of the project's templates asks so, where the question has
    no answer about this scene, or where it can be read in two ways that do not
    have the same answer.
  """
  table = scene_table(scene)
  answers = {}
  for program in programs(question, _own_patterns()):
    try:
      answers.setdefault(execute(program, table), program)
    except InvalidProgramError:
      continue  # "the red cube", where there are two or none
  if len(answers) != 1:
    return None
  ((answer, program),) = answers.items()
  return answer, in_words(program, table)


def programs(
  question: str, patterns: list[tuple[Template, re.Pattern]]
) -> Iterator[list[dict]]:
  """Yields the programs that templates could have asked a question for.

  Args:
    question: In English; case does not matter.
    patterns: Of a language.
  """
  words = tokenize(question)
  if len(words) > _MAX_WORDS:
    return
  text = _plain(words)
  for template, pattern in patterns:
    if found := pattern.fullmatch(text):
      yield build_program(template, _fillings(template, found.groupdict()))


def patterns_of(language: Language) -> list[tuple[Template, re.Pattern]]:
  """Returns every phrasing of a language as a regular expression.

  Its groups are called as the slots, without their brackets. They hold words
  of the language's synonyms.
  """
  return [
    (template, re.compile(pattern))
    for template in language.templates
    for pattern in dict.fromkeys(
      _pattern(text, language.synonyms) for text in template.texts
    )
  ]


@functools.cache
def _own_patterns() -> list[tuple[Template, re.Pattern]]:
  return patterns_of(load_language())


def _plain(words: Iterable[str]) -> str:
  """Returns words with what only makes them sound different taken out."""
  text = f" {' '.join(words)} "
  for pattern, plain in _ALIKE:
    text = pattern.sub(plain, text)
  return text


def _pattern(text: str, synonyms: Mapping[str, list[str]]) -> str:
  """Returns a phrasing of a template as a regular expression."""
  tokens = [
    token if token.startswith("<") else token.lower()
    for token in _TOKEN.findall(text)
  ]
  return " " + "".join(
    _slot(token, synonyms) if token.startswith("<") else re.escape(token) + " "
    for token in _plain(tokens).split()
  )


def _slot(token: str, synonyms: Mapping[str, list[str]]) -> str:
  """Returns a group for each value of a slot such as <Z2>, or plural <S>s."""
  name, _, plural = token[1:].partition(">")
  words = "|".join(
    f"(?P<{name}_{value}>{'|'.join(synonyms.get(value, [value]))})"
    for value in _VALUES[name[0]]
  )
  optional = "" if name[0] in "SR" else "?"
  return f"(?:(?:{words}){plural} ){optional}"


def _fillings(
  template: Template, groups: Mapping[str, str | None]
) -> list[Filling | None]:
  """Returns what fills the slots of each node, as search.Instance has it."""
  value_of = {}
  for name, words in groups.items():
    slot, _, value = name.partition("_")
    if words is not None and value != "thing":
      value_of[f"<{slot}>"] = value
  fillings = []
  for node in template.nodes:
    values = [value_of.get(slot) for slot in node.slots]
    if not values:
      fillings.append(None)
    elif node.function in SHORT_FORMS:
      word = values[0] if len(values) > 4 else None
      fillings.append(Filling(word, Description(*values[-4:])))
    else:
      fillings.append(Filling(values[0], Description(*[None] * 4)))
  return fillings
