"""Vocabularies: order of appearance, freezing, files."""

import json

import pytest
from places import SHARED

from data_prep.conversion.growing_vocabulary import Vocabulary
from rn_jax.clevr import ANSWERS, WORDS_AS_THEY_APPEAR
from rn_jax.data.vocabulary import (
  VocabularyError,
  answers_by_id,
  read_vocabulary,
)


def test_indices_follow_first_appearance():
  vocabulary = Vocabulary()
  assert vocabulary.question("Is there a cube?") == [1, 2, 3, 4, 5]
  assert vocabulary.question("a CUBE; a ball?") == [3, 4, 6, 3, 7, 5]
  assert [vocabulary.answer(a) for a in ("no", "3", "no")] == [1, 2, 1]
  assert list(vocabulary.questions) == [
    "is",
    "there",
    "a",
    "cube",
    "?",
    ";",
    "ball",
  ]


def test_frozen_refuses_new_words():
  vocabulary = Vocabulary({"cube": 1}, {"yes": 1}, frozen=True)
  with pytest.raises(KeyError, match="ball"):
    vocabulary.question("cube ball")
  with pytest.raises(KeyError, match="no"):
    vocabulary.answer("no")
  assert vocabulary.questions == {"cube": 1}


def test_freezing_adds_what_did_not_appear():
  vocabulary = Vocabulary()
  vocabulary.question("Is there a cube?")
  vocabulary.answer("no")
  vocabulary.freeze()
  assert list(vocabulary.questions)[:7] == [
    *("is", "there", "a", "cube", "?"),  # as they appeared
    *("are", "more"),  # as in CLEVR
  ]
  assert set(vocabulary.questions) == set(WORDS_AS_THEY_APPEAR)
  assert list(vocabulary.answers)[:3] == ["no", "yes", "2"]
  assert set(vocabulary.answers) == set(ANSWERS)
  for table in (vocabulary.questions, vocabulary.answers):
    assert list(table.values()) == list(range(1, len(table) + 1))
  with pytest.raises(KeyError, match="pink"):
    vocabulary.question("a pink cube")


def test_freezing_leaves_whole_frozen_and_foreign_vocabularies_alone():
  whole = Vocabulary()
  whole.question(" ".join(reversed(WORDS_AS_THEY_APPEAR)))
  for answer in reversed(ANSWERS):
    whole.answer(answer)
  before = whole.to_json()
  whole.freeze()
  assert whole.to_json() == before
  small = Vocabulary({"cube": 1}, {"yes": 1}, frozen=True)
  small.freeze()
  assert small.questions == {"cube": 1}
  foreign = Vocabulary()
  foreign.question("Wie viele Würfel?")
  foreign.freeze()
  assert list(foreign.questions) == ["wie", "viele", "würfel", "?"]
  assert len(foreign.answers) == 28


def test_file_round_trip(tmp_path):
  vocabulary = Vocabulary({"b": 1, "a": 2}, {"yes": 1})
  path = tmp_path / "vocabulary.json"
  # Another layout and order of the same indices is the same vocabulary.
  path.write_text('{"answers": {"yes": 1}, "questions": {"a": 2, "b": 1}}')
  loaded = Vocabulary.load(path)
  assert loaded.to_json() == vocabulary.to_json()
  assert loaded.sha256() == vocabulary.sha256()
  assert loaded.frozen
  swapped = Vocabulary({"a": 1, "b": 2}, {"yes": 1})
  assert swapped.sha256() != vocabulary.sha256()


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("{", "not readable as JSON"),
    ("[1]", "has no table 'questions' of words"),
    ({"questions": {"a": 1}}, "has no table 'answers' of answers"),
    ({"questions": {"a": 0}, "answers": {"b": 1}}, "1 words must be 1 to 1"),
    ({"questions": {"a": 1, "c": 1}, "answers": {"b": 1}}, "1 to 2, each"),
    ({"questions": {"a": "1"}, "answers": {"b": 1}}, "1 words must be 1 to 1"),
  ],
)
def test_unusable_file(tmp_path, content, message):
  path = tmp_path / "v.json"
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  with pytest.raises(VocabularyError, match=f"v.json: .*{message}"):
    Vocabulary.load(path)


def test_a_mark_of_utf_8_is_skipped(tmp_path):
  path = tmp_path / "v.json"
  tables = {"questions": {"a": 1}, "answers": {"yes": 1}}
  path.write_text(json.dumps(tables), encoding="utf-8-sig")
  assert read_vocabulary(path) == tables


def test_missing_file(tmp_path):
  with pytest.raises(VocabularyError, match=r"v.json: no such file"):
    Vocabulary.load(tmp_path / "v.json")


def test_vocabulary_of_the_released_weights():
  path = SHARED / "released_weights" / "vocabulary.json"
  if not path.exists():
    pytest.skip("the released weights' vocabulary is not on this machine")
  vocabulary = Vocabulary.load("clevr")
  assert vocabulary.sha256() == Vocabulary.load(path).sha256()


def test_clevr_stands_for_its_vocabulary():
  tables = read_vocabulary("clevr")
  assert [len(table) for table in tables.values()] == [82, 28]
  assert sorted(tables["answers"]) == sorted(ANSWERS)
  vocabulary = Vocabulary.load("clevr")
  question = "Are there more big green things than large purple shiny cubes?"
  assert vocabulary.question(question) == [*range(1, 13)]
  assert [vocabulary.answer(a) for a in ("yes", "2", "no")] == [1, 2, 3]


def test_answers_are_listed_by_index_not_by_name_or_place():
  assert answers_by_id({"no": 3, "yes": 1, "2": 2}) == ["yes", "2", "no"]
