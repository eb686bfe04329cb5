"""Questions of a file, in place of those that scenes came with."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from rn_jax.clevr import QUESTION_TYPES
from rn_jax.data.dataset import Dataset, FromFile
from rn_jax.data.decode import decode_index, pad_questions
from rn_jax.data.punctuation import read_asked
from rn_jax.data.question_file import QuestionFileError, read_question_file
from rn_jax.data.question_form import (
  answer_text,
  question_kind,
  question_text,
)
from rn_jax.data.records import read_scenes
from rn_jax.data.scene_names import SceneNames
from rn_jax.data.vocabulary import (
  NO_ANSWER,
  UNKNOWN_ANSWER,
  answer_classes,
  with_nearest,
)
from rn_jax.host.paths import local_path

_TYPES = tuple(QUESTION_TYPES)
_MOST_NAMED = 8  # of unknown words, in an error


class OwnQuestions(NamedTuple):
  """What is to be asked.

  Attributes:
    path: A file of questions; see question_file.py.
    images: Image files and folders, or files of scenes, that it is about; none:
      records.
    skip_unknown: Leave out questions with words that the network does not know.
    with_answers: Whether each question must have its answer.
  """

  path: str
  images: tuple[str, ...] = ()
  skip_unknown: bool = False
  with_answers: bool = False


class Asked(NamedTuple):
  """Questions as they were read, in the order of their file.

  Attributes:
    tokens: The word indices of each.
    numbers: What a Dataset has of each besides, by name.
    family: [Q] str.
    from_file: See Dataset.
  """

  tokens: list[np.ndarray]
  numbers: dict[str, np.ndarray]
  family: np.ndarray
  from_file: FromFile

  @property
  def longest(self) -> int:
    """Words of the longest one."""
    return max(map(len, self.tokens))

  def fields(self, scenes: str, length: int) -> dict[str, Any]:
    """Returns the fields of a Dataset that are about questions.

    Args:
      scenes: What their scenes are called; the Dataset's name begins with it.
      length: Words to pad them to at least.
    """
    path, length = self.from_file.path, max(length, self.longest)
    words = pad_questions(self.tokens, length, str(path))
    return {
      "split": f"{scenes}_{path.stem}",
      "questions": {
        "question": words.astype(np.int16),
        "question_length": np.array(list(map(len, self.tokens)), np.int32),
        **self.numbers,
      },
      "family": self.family,
      "from_file": self.from_file,
    }


def ask_records(
  own: OwnQuestions, dataset: Dataset, config: ml_collections.ConfigDict
) -> Dataset:
  """Puts the questions of a file in the place of a split's own.

  They are padded as those were, so that networks that read padding answer as
  they do when the same questions are in the records.

  Args:
    own: What to ask.
    dataset: The split.
    config: The `data` part of a config.

  Raises:
    QuestionFileError: The file is unusable, or a question of it.
    OSError: The file cannot be opened.
  """

  def read_indices():
    scenes = read_scenes(config.dir, dataset.split, decode_index)
    return [scene["image_index"] for scene in scenes]

  place = f"split {dataset.split!r} of {config.dir}"
  names = SceneNames(dataset.image_filename, read_indices, place)
  asked = read_questions(own, names, dataset.vocabulary, config)
  length = dataset.questions["question"].shape[1]
  return dataclasses.replace(dataset, **asked.fields(dataset.split, length))


def read_questions(
  own: OwnQuestions,
  names: SceneNames,
  vocabulary: Mapping[str, Mapping[str, int]],
  config: ml_collections.ConfigDict,
) -> Asked:
  """Reads what is to be asked about scenes that have been found.

  Args:
    own: What to ask.
    names: Gives the row of each scene.
    vocabulary: {"questions": {word: index}, "answers": {answer: index}}, its
      words as the network reads them.
    config: The `data` part of a config.

  Raises:
    QuestionFileError: The file is unusable, or a question of it.
    OSError: The file cannot be opened.
  """
  path, known = Path(local_path(own.path)), vocabulary["questions"]
  most_words = config.max_question_length
  tokens, families, columns = [], [], collections.defaultdict(list)
  unknown, unknown_answers = {}, {}  # word: places of questions; row: answer
  unnumbered, total = [], 0
  for total, (where, element) in enumerate(read_question_file(path), start=1):
    try:
      text = question_text(element)
      words = read_asked(text, known, config.punctuation)
      if most_words and len(words) > most_words:
        raise ValueError(
          f"has {len(words)} words, more than --config.data.max_question_length"
          f"={most_words}; raise it"
        )
      strange = dict.fromkeys(word for word in words if word not in known)
      for word in strange:
        unknown.setdefault(word, []).append(where)
      if strange:
        continue
      row = _numbers(element, vocabulary, own.with_answers)
      row["scene"] = names.row(element)
    except ValueError as error:
      raise QuestionFileError(f"{where}: {error}") from None
    if row["answer"] == UNKNOWN_ANSWER:
      unknown_answers[len(tokens)] = answer_text(element["answer"])
    if row["question_index"] is None:
      row["question_index"] = total - 1
      unnumbered.append(where)
    families.append(row.pop("family"))
    for name, value in row.items():
      columns[name].append(value)
    tokens.append(np.array([known[word] for word in words]))
  skipped = {place for places in unknown.values() for place in places}
  if skipped and not (own.skip_unknown and tokens):
    raise QuestionFileError(_unknown(path, unknown, known, len(skipped), total))
  if not tokens:
    raise QuestionFileError(f"{path}: holds no questions")
  if 0 < len(unnumbered) < len(tokens):
    raise QuestionFileError(
      f"{unnumbered[0]}: has no question_index, but others have; number all, "
      "or none, which numbers them by their place in the file from 0"
    )
  counts = {word: len(places) for word, places in unknown.items()}
  return Asked(
    tokens,
    {
      name: np.array(values, np.int64 if name == "question_index" else np.int32)
      for name, values in columns.items()
    },
    np.array(families),
    FromFile(path, counts, len(skipped), unknown_answers),
  )


def _numbers(
  element: dict, vocabulary: Mapping[str, Mapping], with_answers: bool
) -> dict[str, Any]:
  """Returns what a Dataset has of a question besides its words and scene."""
  given, index = element.get("answer"), element.get("question_index")
  if given is None or given == "":
    if with_answers:
      raise ValueError(
        "has no answer, so it cannot be scored; add it, or ask with "
        "--mode=predict"
      )
    answer, number = None, NO_ANSWER
  else:
    answer = answer_text(given)
    number = vocabulary["answers"].get(answer, UNKNOWN_ANSWER + 1) - 1
  kind = question_kind(
    element, answer if number >= 0 else None, answer_classes(vocabulary)
  )
  kind_name = element.get("question_type")
  if kind.question_type < 0 and kind_name in _TYPES:
    kind = kind._replace(question_type=_TYPES.index(kind_name))
  if index is not None and (type(index) is not int or abs(index) >= 2**63):
    raise ValueError(
      f"has the question_index {index!r}, which is no whole number"
    )
  return {"answer": number, "question_index": index, **kind._asdict()}


def _unknown(
  path: Path,
  unknown: Mapping[str, list[str]],
  known: Mapping[str, int],
  num_questions: int,
  total: int,
) -> str:
  """Says which words the network does not know, the most frequent first."""
  words: Iterable[str] = sorted(unknown, key=lambda word: -len(unknown[word]))
  named = [
    f"{with_nearest(word, known)} in "
    + unknown[word][0].removeprefix(f"{path}: ")
    for word in words
  ]
  more = len(named) - _MOST_NAMED
  rest = f"; and {more:,} more words" if more > 0 else ""
  remedy = "" if num_questions == total else ", or leave them out with "
  return (
    f"{path}: {num_questions:,} of {total:,} questions have words that the "
    f"network does not know: {'; '.join(named[:_MOST_NAMED])}{rest}. Reword "
    f"them{remedy and remedy + '--skip_unknown'}"
  )
