"""Word and answer indices, by first appearance in the train questions.

Indices start at 1; 0 is the padding. The file format is
{"questions": {word: index}, "answers": {answer: index}}.
"""

import hashlib
import json
import os
from pathlib import Path

from rn_jax.clevr import tokenize

_KINDS = {"questions": "word", "answers": "answer"}


class VocabularyError(ValueError):
  """A vocabulary cannot be read, or does not cover the data."""


class Vocabulary:
  """Indices of question words and of answers.

  A growing vocabulary gives every new word the next index; a frozen one
  refuses words it does not know.
  """

  def __init__(
    self,
    questions: dict[str, int] | None = None,
    answers: dict[str, int] | None = None,
    frozen: bool = False,
  ):
    self.questions = dict(questions or {})
    self.answers = dict(answers or {})
    self.frozen = frozen

  def question(self, text: str) -> list[int]:
    """Returns the indices of a question's words, in reading order.

    Raises:
      KeyError: A word is unknown to a frozen vocabulary.
    """
    return [self._index(self.questions, word) for word in tokenize(text)]

  def answer(self, answer: str) -> int:
    """Returns the index of an answer.

    Raises:
      KeyError: The answer is unknown to a frozen vocabulary.
    """
    return self._index(self.answers, answer)

  def _index(self, indices: dict[str, int], word: str) -> int:
    if word not in indices and not self.frozen:
      indices[word] = len(indices) + 1
    return indices[word]

  def to_json(self) -> str:
    """Returns the file content; the same vocabulary gives the same text."""
    content = {"questions": self.questions, "answers": self.answers}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

  def sha256(self) -> str:
    """Returns a hash of the indices, whatever the layout of their file."""
    return hashlib.sha256(self.to_json().encode()).hexdigest()

  @classmethod
  def load(cls, path: str | os.PathLike) -> "Vocabulary":
    """Reads a frozen vocabulary.

    Raises:
      VocabularyError: The file is missing or no vocabulary.
    """
    try:
      content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
      raise VocabularyError(f"{path}: no such vocabulary file") from None
    except ValueError as error:
      raise VocabularyError(f"{path}: not readable as JSON: {error}") from None
    tables = {}
    for key, kind in _KINDS.items():
      table = content.get(key) if isinstance(content, dict) else None
      if not isinstance(table, dict) or not table:
        raise VocabularyError(f"{path}: has no table {key!r} of {kind}s")
      expected = list(range(1, len(table) + 1))
      if sorted(table.values(), key=str) != sorted(expected, key=str):
        raise VocabularyError(
          f"{path}: the indices of its {len(table)} {kind}s must be 1 to"
          f" {len(table)}, each once"
        )
      tables[key] = dict(sorted(table.items(), key=lambda item: item[1]))
    return cls(tables["questions"], tables["answers"], frozen=True)
