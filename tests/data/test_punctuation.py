"""Marks as words, on words, or left out, in data and in what is asked."""

import json

import numpy as np
import pytest
from small_network import write_network

from rn_jax.answer import load
from rn_jax.clevr import tokenize
from rn_jax.data.dataset import load_dataset
from rn_jax.data.punctuation import read_asked, read_marks, words_with_marks
from rn_jax.data.records import RecordError
from rn_jax.data.spelling import spell, write_scene
from rn_jax.data.vocabulary import MAX_WORDS, VocabularyError
from rn_jax.evaluate import predict_split

WORDS = ["a", "cube", ";", "is", "it", "red", "?"]


def test_marks_by_hand():
  assert read_marks(WORDS, "split") == WORDS
  assert read_marks(WORDS, "drop") == ["a", "cube", "is", "it", "red"]
  assert read_marks(WORDS, "keep") == ["a", "cube;", "is", "it", "red?"]
  assert read_marks(["?", "a", "?", "!"], "keep") == ["?", "a?", "!"]
  with pytest.raises(ValueError, match="'off', none of split, keep, drop"):
    read_marks(WORDS, "off")


def test_a_question_mark_that_people_left_out_is_read():
  text, without = "A cube; is it red?", "a cube; is it red "
  for punctuation in "split", "keep", "drop":
    known = words_with_marks(
      {word: i for i, word in enumerate(WORDS, 1)}, punctuation
    )
    expected = read_marks(WORDS, punctuation)
    assert read_asked(text, known, punctuation) == expected
    assert read_asked(without, known, punctuation) == expected
  assert read_asked("a cube.", known, "split")[-1] == "."
  assert read_asked("a cube", {"a", "cube"}, "split") == ["a", "cube"]
  assert read_asked(" ", {"?"}, "split") == []


def test_words_are_numbered_whatever_the_split_has():
  words = {"red": 2, "?": 1, ";": 3, "a": 4}
  assert words_with_marks(words, "split") == words
  assert words_with_marks(words, "drop") == {"red": 1, "a": 2}
  kept = [*"?", "red", ";", "a", "red?", "red;", "a?", "a;"]
  assert list(words_with_marks(words, "keep")) == kept
  assert list(words_with_marks(words, "keep").values()) == [*range(1, 9)]
  many = {str(i): i for i in range(1, MAX_WORDS)} | {"?": MAX_WORDS}
  with pytest.raises(VocabularyError, match="take 'split' or 'drop'"):
    words_with_marks(many, "keep")


@pytest.mark.parametrize("punctuation", ["keep", "drop"])
def test_a_network_reads_the_words_that_it_was_trained_with(
  make_config, clevr_dir, tmp_path, punctuation
):
  config = make_config(**{"data.punctuation": punctuation})
  asked = json.loads(
    (clevr_dir / "questions/CLEVR_val_questions.json").read_text()
  )["questions"]
  dataset = load_dataset(config.data, "states", "val")
  # Each split numbers them alike, and takes no more columns than it needs.
  train = load_dataset(config.data, "states", "train")
  assert train.vocabulary == dataset.vocabulary
  questions = dataset.questions
  longest = questions["question_length"].max()
  assert questions["question"].shape == (len(asked), longest)
  assert questions["question"].max() <= len(dataset.vocabulary["questions"])
  # Words count as they are read, not as the records have them.
  config.data.max_question_length = int(longest)
  assert load_dataset(config.data, "states", "val").num_questions == len(asked)
  config.data.max_question_length = int(longest) - 1
  with pytest.raises(RecordError, match="max_question_length"):
    load_dataset(config.data, "states", "val")
  config.data.max_question_length = None

  write_network(tmp_path / "checkpoints", config)
  network = load(tmp_path)
  found = predict_split(tmp_path, "val")[1]["probability"]
  texts = {item["question_index"]: item["question"] for item in asked}
  for row, number in enumerate(questions["question_index"]):
    words, length = (
      questions[name][row] for name in ("question", "question_length")
    )
    text = texts[int(number)]
    expected = " ".join(read_marks(tokenize(text), punctuation))
    assert spell(dataset.vocabulary, words, length) == expected
    assert not words[length:].any()
    if row < 3:
      scene = write_scene(dataset, questions["scene"][row], tmp_path / "scene")
      answers = network.ask(scene, text)
      np.testing.assert_allclose(answers[0][1], found[row], rtol=1e-4)
