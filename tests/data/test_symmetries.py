"""What was exchanged is asked of a program, and of loops."""

import jax
import numpy as np
import pytest

from data_prep.chance import random_stream
from data_prep.generation.job import Job, make_scene
from data_prep.generation.scenes import relationships
from data_prep.language.questions import ask
from data_prep.language.understanding import right_answer
from rn_jax.clevr import COLORS, tokenize
from rn_jax.data.punctuation import read_marks, words_with_marks
from rn_jax.data.spelling import spell
from rn_jax.data.states import attribute_values, read_objects
from rn_jax.data.symmetries import make_symmetries
from rn_jax.data.vocabulary import answers_by_id, read_vocabulary

CLEVR = read_vocabulary("clevr")
JOB = Job("val", 12, seed=5)


@pytest.fixture(scope="module")
def asked():
  """A batch of generated scenes with questions of all families."""
  scenes = [make_scene(JOB, i) for i in range(JOB.num_scenes)]
  questions = [*ask(scenes, JOB.language, random_stream("symmetries"), 20)]
  rows = [[tokenize(q["question"]) for q in some] for some in questions]
  words = np.zeros((len(rows), 20, 50), np.int32)
  for place in np.ndindex(words.shape[:2]):
    row = [CLEVR["questions"][w] for w in rows[place[0]][place[1]]]
    words[*place, : len(row)] = row
  objects = np.stack([read_objects(scene, 10) for scene in scenes])
  return {
    "objects": objects,
    "object_mask": objects.any(-1),
    "question": words,
    "question_length": (words > 0).sum(-1),
    "answer": np.array(
      [[CLEVR["answers"][q["answer"]] - 1 for q in qs] for qs in questions]
    ),
  }


def exchanged(batch, names, vocabulary=CLEVR, seed=0):
  keys = jax.random.split(jax.random.key(seed), len(batch["question"]))
  exchange = jax.jit(make_symmetries(names, vocabulary))
  return jax.tree.map(np.asarray, exchange(batch, keys))


def scene_of(rows):
  """The scene in CLEVR's JSON that rows of a state description are of."""
  rows = rows[rows.any(-1)]
  objects = [attribute_values(row) for row in rows]
  related = relationships(rows[:, :3].tolist())
  return {"objects": objects, "relationships": related}


@pytest.mark.parametrize(
  "names", [["colors"], ["mirror"], ["colors", "mirror"]], ids="+".join
)
def test_answers_are_right_of_the_exchanged_scenes(asked, names):
  batch, answers = exchanged(asked, names), answers_by_id(CLEVR["answers"])
  right = 0
  for s, k in np.ndindex(batch["answer"].shape):
    length = batch["question_length"][s, k]
    text = spell(CLEVR, batch["question"][s, k], length)
    found = right_answer(scene_of(batch["objects"][s]), text)
    assert found is not None, text
    assert found[0] == answers[batch["answer"][s, k]], text
    right += 1
  assert right == 12 * 20
  for name in ("objects", "question", "answer"):
    changed = (batch[name] != asked[name]).any()
    assert changed or (name, names) == ("answer", ["mirror"])


def test_colors_are_a_permutation_of_its_own_in_each_scene(asked):
  batch = exchanged(asked, ["colors"])
  orders = []
  for before, after in zip(asked["objects"], batch["objects"], strict=True):
    np.testing.assert_array_equal(
      np.delete(before, 3, 1), np.delete(after, 3, 1)
    )
    pairs = {*zip(before[:, 3].tolist(), after[:, 3].tolist(), strict=True)}
    assert (
      len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    )
    assert (0.0, 0.0) in pairs or len(before[before.any(-1)]) == 10
    orders.append(frozenset(pairs))
  assert len(set(orders)) == len(orders)
  # The same scene is another one at another update.
  other = exchanged(asked, ["colors"], seed=1)
  assert (other["objects"] != batch["objects"]).any()


def test_half_of_the_scenes_are_mirrored():
  rows = np.zeros((400, 1, 7), np.float32)
  rows[..., 0] = 1.0
  pictures = np.zeros((400, 2, 4, 3), np.uint8)
  pictures[:, 0, 0] = 200
  boxes = np.tile(
    np.array([[0.1, 0.2, 0.4, 0.5], [0, 0, 0, 0]], np.float32), (400, 1, 1)
  )
  left, right = CLEVR["questions"]["left"], CLEVR["questions"]["right"]
  batch = {
    "objects": rows,
    "image": pictures,
    "boxes": boxes,
    "question": np.tile(np.array([left, right, 5, 0], np.int32), (400, 1, 1)),
    "answer": np.zeros((400, 1), np.int32),
  }
  batch = exchanged(batch, ["mirror"])
  turned = batch["question"][:, 0, 0] == right
  assert 160 < turned.sum() < 240
  words = np.where(
    turned[:, None],
    np.array([right, left, 5, 0], np.int32),
    np.array([left, right, 5, 0], np.int32),
  )
  np.testing.assert_array_equal(batch["question"][:, 0], words)
  assert (batch["image"][:, 0, 3, 0] == np.where(turned, 200, 0)).all()
  assert (batch["image"][:, 0, 0, 0] == np.where(turned, 0, 200)).all()
  assert batch["image"].dtype == np.uint8
  expected = np.where(turned[:, None], [0.6, 0.2, 0.9, 0.5], boxes[0, 0])
  np.testing.assert_allclose(batch["boxes"][:, 0], expected, atol=1e-6)
  assert not batch["boxes"][:, 1].any()


@pytest.mark.parametrize("punctuation", ["keep", "drop"])
def test_words_with_marks_are_exchanged_too(punctuation):
  words = words_with_marks(CLEVR["questions"], punctuation)
  vocabulary = {"questions": words, "answers": CLEVR["answers"]}
  texts = ["is it red ? yes", "a blue ; gray thing to the left ; right ?"]
  rows = np.zeros((2, 1, 12), np.int32)
  for row, text in zip(rows, texts, strict=True):
    numbers = [words[w] for w in read_marks(text.split()[:-1], punctuation)]
    row[0, : len(numbers)] = numbers
  batch = {
    "objects": np.zeros((2, 1, 7), np.float32),
    "question": np.repeat(rows, 20, 0),
    "answer": np.full((40, 1), -1, np.int32),
  }
  batch["objects"] = np.zeros((40, 1, 7), np.float32)
  batch = exchanged(batch, ["colors", "mirror"], vocabulary)
  names = [None, *words]
  first = [names[i] for i in batch["question"][:20, 0, 2]]
  assert {word.rstrip("?") for word in first} == set(COLORS)
  if punctuation == "keep":
    assert all(word.endswith("?") for word in first)
  assert (batch["answer"] == -1).all()


def test_a_color_that_is_no_word_or_answer_keeps_its_place(asked):
  answers = {a: i for i, a in enumerate(["yes", "red", "blue", "cyan"], 1)}
  words = {w: i for i, w in enumerate(["red", "green", "blue", "it"], 1)}
  batch = {
    "objects": asked["objects"],
    "question": np.tile(np.array([1, 2, 3, 4], np.int32), (12, 1, 1)),
    "answer": np.tile(np.array([0, 1, 2, 3, -2], np.int32), (12, 1)),
  }
  vocabulary = {"questions": words, "answers": answers}
  after = exchanged(batch, ["colors"], vocabulary)
  two = [1 + COLORS.index(c) for c in ("red", "blue")]
  others = ~np.isin(asked["objects"][..., 3], two)
  before = batch["objects"][..., 3][others]
  np.testing.assert_array_equal(after["objects"][..., 3][others], before)
  assert {tuple(q[0]) for q in after["question"]} == {
    (1, 2, 3, 4),
    (3, 2, 1, 4),
  }
  assert {tuple(a) for a in after["answer"]} == {
    (0, 1, 2, 3, -2),
    (0, 2, 1, 3, -2),
  }


def test_what_cannot_be_exchanged_is_an_error():
  with pytest.raises(ValueError, match="names shapes, none of colors, mirror"):
    make_symmetries(["shapes"], CLEVR)
  few = {"questions": {"red": 1, "left": 2}, "answers": {"yes": 1}}
  for name in ("colors", "mirror"):
    with pytest.raises(ValueError, match="cannot exchange words"):
      make_symmetries([name], few)
