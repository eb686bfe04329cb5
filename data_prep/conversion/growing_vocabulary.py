"""Word and answer indices, by first appearance in the questions."""

import hashlib
import json
import os

from rn_jax.clevr import (
  ANSWERS_AS_THEY_APPEAR,
  WORDS_AS_THEY_APPEAR,
  tokenize,
)
from rn_jax.data.vocabulary import (
  MAX_WORDS,
  answer_classes,
  attribute_values,
  read_vocabulary,
)


class Vocabulary:
  """Indices of question words and of answers.

  A growing vocabulary gives every new word the next index; a frozen one
  refuses words it does not know.

  Attributes:
    questions: Indices of words.
    answers: Indices of answers.
    attributes: Values of attributes that CLEVR does not have.
    frozen: Whether it is.
  """

  def __init__(
    self,
    questions: dict[str, int] | None = None,
    answers: dict[str, int] | None = None,
    frozen: bool = False,
    attributes: dict[str, list[str]] | None = None,
  ):
    self.questions = dict(questions or {})
    self.answers = dict(answers or {})
    self.attributes = {k: [*v] for k, v in (attributes or {}).items()}
    self.frozen = frozen

  def question(self, text: str) -> list[int]:
    """Returns the indices of a question's words, in reading order.

    Raises:
      KeyError: A word is unknown to a frozen vocabulary.
      ValueError: It is one too many for a growing one.
    """
    return [self._index(self.questions, word) for word in tokenize(text)]

  def answer(self, answer: str) -> int:
    """Returns the index of an answer.

    Raises:
      KeyError: The answer is unknown to a frozen vocabulary.
    """
    return self._index(self.answers, answer)

  def learn(self, new_values: dict[str, list[str]]) -> None:
    """Takes up values of attributes that CLEVR does not have.

    Raises:
      KeyError: One is unknown to a frozen vocabulary.
    """
    for name, values in new_values.items():
      for value in values:
        if value not in self.attributes.get(name, ()):
          if self.frozen:
            raise KeyError(f"{name} {value}")
          self.attributes.setdefault(name, []).append(value)

  @property
  def values(self) -> dict[str, tuple[str, ...]]:
    """All values of each attribute, in the order of their numbers."""
    return attribute_values({"attributes": self.attributes})

  @property
  def classes(self) -> dict[str, tuple[str, ...]]:
    """The answers of each class."""
    return answer_classes({"attributes": self.attributes})

  def _index(self, indices: dict[str, int], word: str) -> int:
    if word not in indices and not self.frozen:
      if len(indices) == MAX_WORDS:
        raise ValueError(
          f"with {word!r} there are more than {MAX_WORDS:,} words"
        )
      indices[word] = len(indices) + 1
    return indices[word]

  def freeze(self) -> None:
    """Ends the growth, with all that CLEVR's questions may hold besides.

    Few questions do not show every word and answer that others of the kind
    have. The missing ones get the indices behind those that appeared: all
    answers, and all words unless the language is another.
    """
    if self.frozen:
      return
    new = [v for values in self.attributes.values() for v in values]
    shapes = [f"{shape}s" for shape in self.attributes.get("shape", ())]
    words = (*WORDS_AS_THEY_APPEAR, *new, *shapes)
    if self.questions.keys() <= set(words):
      for word in words:
        self._index(self.questions, word)
    for answer in (*ANSWERS_AS_THEY_APPEAR, *new):
      self._index(self.answers, answer)
    self.frozen = True

  def to_json(self) -> str:
    """Returns the file content; the same vocabulary gives the same text."""
    content = {"questions": self.questions, "answers": self.answers}
    if self.attributes:
      content["attributes"] = self.attributes
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
    return cls(**read_vocabulary(path), frozen=True)
