"""The words and answers that records and networks number.

A vocabulary is {"questions": {word: index}, "answers": {answer: index}}; the
indices are 1, 2, 3, ... and 0 is the padding. A file holds it as JSON; the
name "clevr" stands for that of CLEVR's train split, in place of a file.

Where objects can be what CLEVR's cannot, there is besides "attributes", the
values that CLEVR does not have: {"shape": ["cone"]}. Records number the values
of an attribute through CLEVR's and then these.
"""

import difflib
import json
import os
from collections.abc import Mapping

from rn_jax.clevr import (
  ANSWER_CLASSES,
  ANSWERS_AS_THEY_APPEAR,
  ATTRIBUTES,
  WORDS_AS_THEY_APPEAR,
)
from rn_jax.host.paths import place

CLEVR = "clevr"
MAX_WORDS = 2**15 - 1  # networks read words as int16
# What stands for the number of an answer that is not published, and of one that
# is not in the vocabulary, so that no network can give it.
NO_ANSWER = -1
UNKNOWN_ANSWER = -2
_KINDS = {"questions": "word", "answers": "answer"}


class VocabularyError(ValueError):
  """A vocabulary cannot be read, or does not cover the data."""


def read_vocabulary(path: str | os.PathLike) -> dict[str, dict]:
  """Reads a vocabulary file; its tables come in the order of their indices.

  Args:
    path: The file, or "clevr".

  Raises:
    VocabularyError: The file is missing, no vocabulary, or too large.
  """
  if path == CLEVR:
    return {
      "questions": {w: i for i, w in enumerate(WORDS_AS_THEY_APPEAR, 1)},
      "answers": {a: i for i, a in enumerate(ANSWERS_AS_THEY_APPEAR, 1)},
    }
  try:
    content = json.loads(place(path).read_text(encoding="utf-8-sig"))
  except FileNotFoundError:
    raise VocabularyError(f"{path}: no such file") from None
  except (OSError, ValueError, RecursionError) as error:
    raise VocabularyError(f"{path}: not readable as JSON: {error}") from None
  tables: dict[str, dict] = {}
  for key, kind in _KINDS.items():
    table = content.get(key) if isinstance(content, dict) else None
    if not isinstance(table, dict) or not table:
      raise VocabularyError(
        f"{path}: not a vocabulary: it has no table {key!r} of {kind}s"
      )
    if len(table) > MAX_WORDS:
      raise VocabularyError(
        f"{path}: has {len(table):,} {kind}s, more than {MAX_WORDS:,}"
      )
    expected = list(range(1, len(table) + 1))
    numbers = [index for index in table.values() if type(index) is int]
    if sorted(numbers) != expected or len(numbers) != len(table):
      raise VocabularyError(
        f"{path}: not a vocabulary: the indices of its {len(table)} {kind}s"
        f" must be 1 to {len(table)}, each once"
      )
    tables[key] = dict(sorted(table.items(), key=lambda item: item[1]))
  if "attributes" in content:
    tables["attributes"] = _check_attributes(content["attributes"], path)
  return tables


def _check_attributes(values: object, path) -> dict[str, list[str]]:
  if not isinstance(values, dict) or not all(
    name in ATTRIBUTES
    and isinstance(new, list)
    and all(isinstance(value, str) for value in new)
    for name, new in values.items()
  ):
    raise VocabularyError(
      f"{path}: not a vocabulary: its attributes are no lists of values of "
      f"{', '.join(ATTRIBUTES)}"
    )
  return values


def attribute_values(vocabulary: Mapping[str, Mapping]) -> dict[str, tuple]:
  """Returns the values of each attribute, in the order of their numbers."""
  new = vocabulary.get("attributes", {})
  return {
    name: (*values, *new.get(name, ())) for name, values in ATTRIBUTES.items()
  }


def answer_classes(vocabulary: Mapping[str, Mapping]) -> dict[str, tuple]:
  """Returns the answers of each class: clevr.ANSWER_CLASSES, or more."""
  return ANSWER_CLASSES | attribute_values(vocabulary)


def answers_by_id(answers: Mapping[str, int]) -> list[str]:
  """Returns the answers by zero-based id, which is their index less one.

  Args:
    answers: {answer: index}, the vocabulary's "answers".
  """
  return sorted(answers, key=answers.__getitem__)


def with_nearest(word: str, known: Mapping[str, int]) -> str:
  """Returns an unknown word with those that are most like it, for an error."""
  # The three nearest, however far: they show what kind of words there are.
  nearest = difflib.get_close_matches(word, known, n=3, cutoff=0)
  return f"{word!r} (nearest: {', '.join(map(repr, nearest))})"
