"""Questions in the forms in which other projects write them."""

import math

import pytest
from small_clevr import make_question

from data_prep.conversion.clevr_question import read_question
from data_prep.conversion.growing_vocabulary import Vocabulary
from rn_jax.clevr import ANSWER_FUNCTIONS, QUESTION_TYPES
from rn_jax.data.clevr_json import SourceError


def read(**changes):
  vocabulary = Vocabulary()
  question = make_question(0, "Any cubes?", "yes", "exist") | changes
  return read_question(question, 5, vocabulary, "f.json: question 5"), (
    list(vocabulary.answers)
  )


@pytest.mark.parametrize(
  ("answer", "spelled"),
  [
    *((True, "yes"), ("True", "yes"), ("Yes", "yes"), (" YES", "yes")),
    *((False, "no"), ("false", "no"), ("No", "no")),
    *((3, "3"), (3.0, "3"), (-0.0, "0"), ("10", "10")),
    ("Rubber", "rubber"),
  ],
)
def test_answers_that_are_clear(answer, spelled):
  assert read(answer=answer, program=None)[1] == [spelled]


@pytest.mark.parametrize(
  "answer",
  [1.5, math.nan, math.inf, 11, -1, 10**30, "", "maybe", [], ["yes"], {}],
)
def test_answers_that_are_none(answer):
  message = "not one of CLEVR's 28 answers|no answer of CLEVR's, whose counts"
  with pytest.raises(SourceError, match=message):
    read(answer=answer)


def nodes(*names, key="function"):
  return [{key: name, "inputs": []} for name in names]


@pytest.mark.parametrize(
  ("program", "function"),
  [
    (nodes("scene", "unique", "query_color"), "query_color"),
    (nodes("scene", "count", key="type"), "count"),
    (["scene", "filter_color[red]", "count"], "count"),
    (["query_size", "unique", "scene"], "query_size"),
    ("scene, filter_color[red], exist", "exist"),
    ("count(filter_color[red](scene()))", "count"),
    ("less_than(count(scene), count(scene))", "less_than"),
    ("scene count scene count greater_than", "greater_than"),
    ({"function": "exist", "inputs": [{"function": "scene"}]}, "exist"),
    # Nobody's, or not clear:
    *((None, None), ("", None), ([], None), ({}, None), (0, None)),
    *((math.nan, None), (True, None), ([[]], None), ([None], None)),
    *(("unique", None), ("count exist", None), ("🙂", None)),
    *((nodes("unique"), None), (nodes(None), None), (nodes(["count"]), None)),
    ({"0": {"function": "count"}}, None),
    ([{"function": "scene"}, {"function": "count", "inputs": [1]}], None),
    ([{"function": "scene"}, {"function": "count", "inputs": [0]}], "count"),
    ([{"function": "scene"}, {"function": "count"}], "count"),
    ([1, 2, 3], None),
  ],
)
def test_programs(program, function):
  question, _ = read(program=program, answer=None)
  if function is None:
    assert (question.function, question.question_type) == (-1, -1)
  else:
    assert ANSWER_FUNCTIONS[question.function] == function
    kind = tuple(QUESTION_TYPES)[question.question_type]
    assert function in QUESTION_TYPES[kind]


@pytest.mark.parametrize(
  ("family", "template", "within", "expected"),
  [
    (17, None, None, "17"),
    (0, None, None, "0"),
    ("a", None, None, "a"),
    (3, "one_hop.json", None, "one_hop/3"),
    (28, "one_hop.json", 3, "one_hop/3"),
    (0, "one_hop.json", 0, "one_hop/0"),
    (None, None, None, ""),
    (None, "one_hop.json", None, ""),
    ([1], 7, {}, ""),
    (1.5, ["a"], None, ""),
    (17, {"a": 1}, None, "17"),
  ],
)
def test_families(family, template, within, expected):
  question, _ = read(
    question_family_index=family,
    template_filename=template,
    template_index=within,
  )
  assert question.family == expected
