"""The words and answers that records and networks number.

A vocabulary is {"questions": {word: index}, "answers": {answer: index}}; the
indices are 1, 2, 3, ... and 0 is the padding. A file holds it as JSON.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from rn_jax.host.paths import local_path

_KINDS = {"questions": "word", "answers": "answer"}


class VocabularyError(ValueError):
  """A vocabulary cannot be read, or does not cover the data."""


def read_vocabulary(path: str | os.PathLike) -> dict[str, dict[str, int]]:
  """Reads a vocabulary file; both tables come in the order of their indices.

  Raises:
    VocabularyError: The file is missing or no vocabulary.
  """
  try:
    content = json.loads(Path(local_path(path)).read_text(encoding="utf-8"))
  except FileNotFoundError:
    raise VocabularyError(f"{path}: no such file") from None
  except (OSError, ValueError) as error:
    raise VocabularyError(f"{path}: not readable as JSON: {error}") from None
  tables = {}
  for key, kind in _KINDS.items():
    table = content.get(key) if isinstance(content, dict) else None
    if not isinstance(table, dict) or not table:
      raise VocabularyError(
        f"{path}: not a vocabulary: it has no table {key!r} of {kind}s"
      )
    expected = list(range(1, len(table) + 1))
    if sorted(table.values(), key=str) != sorted(expected, key=str):
      raise VocabularyError(
        f"{path}: not a vocabulary: the indices of its {len(table)} {kind}s"
        f" must be 1 to {len(table)}, each once"
      )
    tables[key] = dict(sorted(table.items(), key=lambda item: item[1]))
  return tables


def answers_by_id(answers: Mapping[str, int]) -> list[str]:
  """Returns the answers by zero-based id, which is their index less one.

  Args:
    answers: {answer: index}, the vocabulary's "answers".
  """
  return sorted(answers, key=answers.get)
