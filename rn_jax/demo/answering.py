"""What a network says of a question, why, and what is right."""

from collections.abc import Sequence
from typing import NamedTuple

from rn_jax.answer import Network
from rn_jax.data.punctuation import read_asked
from rn_jax.demo.subjects import SceneTools, Subject
from rn_jax.plots.pairs import NUMBER
from rn_jax.why import Why

# Answers that are shown: three, or more that have some probability.
_MOST, _LEAST = 6, 0.001
# A question of CLEVR's has up to some 50.
MAX_WORDS = 200


class Right(NamedTuple):
  """The right answer.

  Attributes:
    answer: It.
    steps: How it is found: what each step does, and what it finds.
  """

  answer: str
  steps: Sequence[tuple[str, str]]


class Pair(NamedTuple):
  """A pair of objects that decided.

  Attributes:
    contribution: In nats, see Why.
    first: The name of the one object.
    second: Of the other; None: the object by itself.
  """

  contribution: float
  first: str
  second: str | None


class Answered(NamedTuple):
  """All that is shown of a question.

  Attributes:
    question: As it was asked.
    answers: The most probable ones with their probabilities.
    why: None: the network relates no pairs.
    pairs: The strongest, with names.
    right: None: it is not known.
  """

  question: str
  answers: list[tuple[str, float]]
  why: Why | None
  pairs: list[Pair]
  right: Right | None


def answer(
  network: Network, subject: Subject, question: str, tools: SceneTools
) -> Answered:
  """Asks a network.

  Args:
    network: The network.
    subject: What it is asked about.
    question: In English.
    tools: For the right answer.

  Raises:
    ValueError: It does not know a word, or cannot read the subject.
  """
  question = " ".join(question.split())
  if len(question.split()) > MAX_WORDS:
    raise ValueError(f"the question has more than {MAX_WORDS} words")
  inputs = network.config.model.inputs
  read = subject.of_kind(inputs)
  if read is None:
    raise ValueError(
      "this network reads pictures, and there is none of this scene"
      if inputs == "pixels"
      else "this network reads descriptions of scenes, not pictures: upload a "
      "scene's JSON, or choose a network that reads pictures"
    )
  answers = [
    (name, probability)
    for rank, (name, probability) in enumerate(network.ask(read, question))
    if rank < 3 or (rank < _MOST and probability >= _LEAST)
  ]
  why = None
  if network.relates_pairs:
    why = network.why(read, question)
  known = None
  if subject.scene is not None:
    known = tools.right_answer(subject.scene, question)
  return Answered(
    question,
    answers,
    why,
    _pairs(why) if why else [],
    Right(*known) if known else None,
  )


def known_questions(network: Network, subject: Subject) -> list[str]:
  """Returns the suggestions whose words a network knows."""
  words, marks = (
    network.vocabulary["questions"],
    network.config.data.punctuation,
  )
  return [
    question
    for question in subject.questions
    if all(word in words for word in read_asked(question, words, marks))
  ]


def _pairs(why: Why) -> list[Pair]:
  return [
    Pair(
      float(why.contributions[i, j]),
      why.names[i],
      None if i == j else why.names[j],
    )
    for i, j in why.strongest(NUMBER)
  ]
