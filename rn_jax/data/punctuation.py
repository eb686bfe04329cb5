"""How a question's punctuation is read: as words, upon words, or not at all.

Records hold marks as words of their own. The first attempts of Messina et al.
2020 left them on the words ("color?" is one word), later ones split them off.
All three are made of the same records, by the same rule when a network is
asked.
"""

from collections.abc import Container, Mapping, Sequence

import numpy as np

from rn_jax.clevr import is_mark, tokenize
from rn_jax.data.decode import pad_questions
from rn_jax.data.vocabulary import MAX_WORDS, VocabularyError

PUNCTUATION = ("split", "keep", "drop")


def read_marks(words: Sequence[str], punctuation: str) -> list[str]:
  """Returns the words of a question as a network reads them.

  Args:
    words: With marks as words of their own; see rn_jax.clevr.tokenize.
    punctuation: "split": as they are; "keep": a mark is part of the word that
      it follows (one behind no word stays alone); "drop": without marks.

  Raises:
    ValueError: `punctuation` is none of these.
  """
  if punctuation not in PUNCTUATION:
    raise ValueError(
      f"config.data.punctuation is {punctuation!r}, none of "
      f"{', '.join(PUNCTUATION)}"
    )
  if punctuation == "split":
    return list(words)
  if punctuation == "drop":
    return [word for word in words if not is_mark(word)]
  read, joins = [], False
  for word in words:
    mark = is_mark(word)
    if mark and joins:
      read[-1] += word
    else:
      read.append(word)
    joins = not mark
  return read


def read_asked(
  question: str, known: Container[str], punctuation: str
) -> list[str]:
  """Returns the words of a question that somebody wrote, as a network reads it.

  People leave out the question mark at the end, without which a network that
  has hardly seen such questions is often wrong, and sure of it.

  Args:
    question: Its text.
    known: Words of the network; one that knows no question mark gets none.
    punctuation: See read_marks.
  """
  words = tokenize(question)
  if words and not is_mark(words[-1]) and "?" in known:
    words.append("?")
  return read_marks(words, punctuation)


def words_with_marks(
  words: Mapping[str, int], punctuation: str
) -> dict[str, int]:
  """Returns the vocabulary's words as a network numbers them.

  It follows from the records' words alone, so all splits have the same: with
  "keep" each word, then each word with each mark, whether a question has it or
  not; with "drop" the words without marks, numbered anew.

  Args:
    words: {word: index} of the records.
    punctuation: See read_marks.

  Raises:
    VocabularyError: They are too many.
  """
  if punctuation == "split":
    return dict(words)
  ordered = sorted(words, key=words.__getitem__)
  plain = read_marks(ordered, "drop")
  if punctuation == "keep":
    marks = [word for word in ordered if is_mark(word)]
    plain = ordered + [word + mark for word in plain for mark in marks]
  if len(plain) > MAX_WORDS:
    raise VocabularyError(
      f"with config.data.punctuation='keep' there are {len(plain):,} words, "
      f"more than {MAX_WORDS:,}: take 'split' or 'drop'"
    )
  return {word: index for index, word in enumerate(plain, start=1)}


def renumber(
  question: np.ndarray,
  length: np.ndarray,
  words: Mapping[str, int],
  punctuation: str,
  max_length: int | None,
  where: str,
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
  """Reads a split's questions in another way than the records number them.

  Args:
    question: [Q, T] word indices, padded with zeros.
    length: [Q] how many of them count.
    words: {word: index} of the records.
    punctuation: See read_marks.
    max_length: Columns of the result; None: the longest question.
    where: What to name in an error.

  Returns:
    The same three, as they are read.

  Raises:
    VocabularyError: The words are too many.
    RecordError: A question is longer than max_length.
  """
  numbers = words_with_marks(words, punctuation)
  spelled = ["", *sorted(words, key=words.__getitem__)]
  rows = [
    np.array(
      [numbers[w] for w in read_marks([spelled[i] for i in row], punctuation)],
      question.dtype,
    )
    for row in (q[:n].tolist() for q, n in zip(question, length, strict=True))
  ]
  padded = pad_questions(rows, max_length, where).astype(question.dtype)
  return padded, np.array([len(row) for row in rows], length.dtype), numbers
