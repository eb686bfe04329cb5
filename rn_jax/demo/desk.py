"""What the page does, without the page: each action, and what it shows."""

import functools
import secrets
from collections.abc import Callable, Mapping
from typing import NamedTuple

from absl import logging

from rn_jax import answer as answers
from rn_jax.answer import Network
from rn_jax.demo import html
from rn_jax.demo.answering import answer, known_questions
from rn_jax.demo.similar import Alike
from rn_jax.demo.subjects import SceneTools, Subject, example, made, uploaded

FAILED = "Something went wrong here; the log of the server says what."

FORGOTTEN = (
  "What was shown here was forgotten, as an hour went by; this is the example."
)


class Shown(NamedTuple):
  """What the page shows; None: what it showed before.

  Attributes:
    subject: What is asked about.
    network: The name of the network that is asked.
    question: In the field.
    suggestions: Questions to choose from.
    picture: HTML: the picture, with what decided.
    said: HTML: answers and what is right, or the line of an error.
    alike: HTML: the images of the index.
  """

  subject: Subject | None = None
  network: str | None = None
  question: str | None = None
  suggestions: list[str] | None = None
  picture: str | None = None
  said: str | None = None
  alike: str | None = None


def _told(action: Callable[..., Shown]) -> Callable[..., Shown]:
  """Makes a line without a path or a traceback of what nobody foresaw."""

  @functools.wraps(action)
  def told(*args, **kwargs) -> Shown:
    try:
      return action(*args, **kwargs)
    except Exception:
      logging.exception("An action of the page failed")
      return Shown(said=html.error(FAILED))

  return told


class Desk:
  """Does what the page asks for.

  Attributes:
    names: Of the networks; the first is asked unless another is chosen.
  """

  def __init__(
    self,
    checkpoints: Mapping[str, str],
    tools: SceneTools,
    similar: Callable[[Subject], list[Alike] | None] | None = None,
  ):
    """Makes one.

    Args:
      checkpoints: Paths of networks by name; loaded when they are asked.
      tools: For scenes.
      similar: See similar.open_similar; None: there is no index.
    """
    self.names = list(checkpoints)
    self.has_index = similar is not None
    self._tools = tools
    self._similar = similar
    self._load = functools.cache(lambda name: answers.load(checkpoints[name]))

  def load(self, name: str) -> Network:
    """Returns a network, which is loaded once.

    Raises:
      CheckpointError: There is no usable checkpoint.
    """
    return self._load(name)

  def label(self, name: str) -> str:
    """Returns what to call a network: by its name, and what it reads."""
    pixels = self.load(name).config.model.inputs == "pixels"
    return f"{name}: reads {'pictures' if pixels else 'descriptions'}"

  @_told
  def example(self, name: str) -> Shown:
    """Shows the project's example, to a network."""
    return self._show(example(), name)

  @_told
  def generate(self, name: str, seed: int | None = None) -> Shown:
    """Shows a scene made anew."""
    seed = secrets.randbelow(10**6) if seed is None else seed
    return self._show(made(self._tools, seed), name)

  @_told
  def upload(self, content: bytes, filename: str, name: str) -> Shown:
    """Shows an upload; to another network if this one does not read such."""
    try:
      subject = uploaded(self._tools, content, filename)
    except ValueError as error:
      return Shown(said=html.error(str(error)))
    reading = (n for n in [name, *self.names] if self._reads(n, subject))
    return self._show(subject, next(reading, name))

  @_told
  def ask(self, subject: Subject | None, question: str, name: str) -> Shown:
    """Asks a network about what is shown; None: the page forgot it."""
    if subject is None:
      return self.example(name)._replace(said=html.error(FORGOTTEN))
    network = self.load(name)
    asked = Shown(
      question=question, suggestions=known_questions(network, subject)
    )
    try:
      found = answer(network, subject, question, self._tools)
    except ValueError as error:
      # What decided another question would be wrong beside the error.
      return asked._replace(
        picture=html.picture(subject),
        said=html.error(str(error)),
      )
    return asked._replace(
      picture=html.picture(subject, found.why),
      said=html.answered(found, subject.scene is not None),
    )

  def _show(self, subject: Subject, name: str) -> Shown:
    suggestions = known_questions(self.load(name), subject)
    # The last ones ask for the most.
    question = suggestions[-1] if suggestions else ""
    return self.ask(subject, question, name)._replace(
      subject=subject,
      network=name,
      alike=self._alike(subject),
    )

  def _reads(self, name: str, subject: Subject) -> bool:
    inputs = self.load(name).config.model.inputs
    return subject.of_kind(inputs) is not None

  def _alike(self, subject: Subject) -> str | None:
    if self._similar is None:
      return None
    try:
      return html.alike(self._similar(subject))
    except Exception:
      logging.exception("The index could not be searched")
      return html.error(FAILED)
