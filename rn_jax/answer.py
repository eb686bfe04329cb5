"""Ask a trained network about an image.

    from rn_jax.answer import load

    network = load("checkpoints/original_fp")
    for answer, probability in network.ask("scene.png", "How many cubes?")[:3]:
      print(answer, probability)

Networks on state descriptions are asked about a scene as CLEVR's scenes files
describe it: a dictionary with "objects", or a JSON file of one.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from PIL import Image

from rn_jax.data.decode import pad_questions, roomy_length
from rn_jax.data.images import pixels_of, read_image
from rn_jax.data.punctuation import read_asked
from rn_jax.data.states import read_objects, state_arrays, warn_of_boxes
from rn_jax.data.vocabulary import answers_by_id, with_nearest
from rn_jax.evaluate import load_network
from rn_jax.host.atomic import replacing
from rn_jax.host.write_errors import explain
from rn_jax.models.relation.head import make_head
from rn_jax.steps import make_model
from rn_jax.why import Why, describe_objects


@dataclasses.dataclass(frozen=True)
class Network:
  """A network with its weights, ready to answer; made by `load`.

  Attributes:
    config: The whole config it was trained with.
    vocabulary: {"questions": {word: index}, "answers": {answer: index}}.
    variables: {"params", "batch_stats"}.
    probabilities: (variables, batch) -> [1, 1, answers], compiled.
    without_pairs: (variables, batch) -> see RelationNetwork, compiled.
  """

  config: ml_collections.ConfigDict
  vocabulary: Mapping[str, Mapping[str, int]]
  variables: Mapping
  probabilities: Callable[[Mapping, Mapping], jax.Array]
  without_pairs: Callable[[Mapping, Mapping], tuple]

  def ask(
    self,
    scene: str | os.PathLike | Image.Image | Mapping,
    question: str,
  ) -> list[tuple[str, float]]:
    """Answers a question about one scene.

    Args:
      scene: From pixels an image file or a Pillow image, of any size and mode
        (it is squeezed to a square, as CLEVR's images are for training). From
        states a scene of CLEVR's scenes file, or a JSON file of one scene.
      question: In the words of the vocabulary; case does not matter, nor a
        question mark at the end.

    Returns:
      All answers with their probabilities, most probable first.

    Raises:
      ValueError: A word is unknown, the question is empty, or the scene is not
        what this network reads.
      OSError: The file cannot be opened.
    """
    batch = self._batch(scene, question)
    found = np.asarray(self.probabilities(self.variables, batch))[0, 0]
    names = answers_by_id(self.vocabulary["answers"])
    return [(names[i], float(found[i])) for i in np.argsort(-found)]

  @property
  def relates_pairs(self) -> bool:
    """Whether `why` can tell; there are networks that relate no pairs."""
    return make_head(self.config.model).relates_pairs

  def why(
    self,
    scene: str | os.PathLike | Image.Image | Mapping,
    question: str,
  ) -> Why:
    """Tells which pairs of objects decided the answer; see why.py.

    Args:
      scene: See ask.
      question: See ask.

    Raises:
      ValueError, OSError: See ask; or the network relates no pairs.
    """
    batch = self._batch(scene, question)
    *logits, objects = self.without_pairs(self.variables, batch)
    answers = len(self.vocabulary["answers"])
    found, without = (
      np.asarray(jax.nn.log_softmax(x))[..., :answers] for x in logits
    )
    best = int(found[0].argmax())
    names, boxes = describe_objects(
      objects,
      self.config.model.inputs == "pixels"
      and (self.config.model.objects != "found"),
    )
    return Why(
      answers_by_id(self.vocabulary["answers"])[best],
      float(np.exp(found[0, best])),
      found[0, best] - without[..., best],
      names,
      boxes,
    )

  def _batch(
    self, scene: str | os.PathLike | Image.Image | Mapping, question: str
  ) -> dict[str, np.ndarray]:
    """Returns a batch of one scene and one question."""
    tokens = self._tokens(question)
    if self.config.model.inputs == "pixels":
      batch = {"image": pixels_of(scene, self.config.data.image_size)}
    else:
      rows = read_objects(scene, self.config.data.max_objects)
      batch = state_arrays(rows)
    length = roomy_length(len(tokens), self.config.data.max_question_length)
    batch["question"] = pad_questions([tokens], length, repr(question))
    batch["question_length"] = np.array([len(tokens)], np.int32)
    return {name: array[None] for name, array in batch.items()}  # One scene.

  def _tokens(self, question: str) -> np.ndarray:
    known = self.vocabulary["questions"]
    words = read_asked(question, known, self.config.data.punctuation)
    if not words:
      raise ValueError("the question is empty")
    unknown = [word for word in dict.fromkeys(words) if word not in known]
    if unknown:
      raise ValueError(
        "the network does not know "
        + " and ".join(with_nearest(word, known) for word in unknown)
      )
    return np.array([known[word] for word in words])


def load(
  checkpoint: str | os.PathLike, overrides: Mapping[str, Any] | None = None
) -> Network:
  """Loads a network to ask.

  Args:
    checkpoint: A workdir, its checkpoints folder, or the folder of one step;
      also what rn_jax.interop.import_torch wrote.
    overrides: Values to put into its config, by dotted key ("model.dtype").

  Raises:
    CheckpointError: There is no usable checkpoint.
    ValueError: The network answers no questions, or a value is none that it
      may be.
  """
  variables, config, vocabulary = load_network(checkpoint, overrides)
  warn_of_boxes(config.data)
  model = make_model(
    config, len(vocabulary["questions"]), len(vocabulary["answers"])
  )

  def probabilities(variables, batch):
    logits, _ = model.apply(variables, batch)
    return jax.nn.softmax(logits)[..., : model.num_answers]

  without_pairs = functools.partial(model.apply, method="without_pairs")
  return Network(
    config,
    vocabulary,
    variables,
    jax.jit(probabilities),
    jax.jit(without_pairs),
  )


def ask_command(
  checkpoint: str | os.PathLike,
  scene: str | os.PathLike,
  question: str,
  why: str | os.PathLike | None = None,
  picture: str | os.PathLike | None = None,
  overrides: Mapping[str, Any] | None = None,
) -> str:
  """Returns what `launch.py --mode=ask` prints: the three best answers.

  Args:
    checkpoint: See load.
    scene: See ask.
    question: See ask.
    why: PNG file to draw the pairs to that decided the answer; None: not.
    picture: Of a scene that is no picture, to draw on.
    overrides: See load.

  Raises:
    SystemExit: With a message, where `ask` raises ValueError or OSError.
    CheckpointError: There is no usable checkpoint.
  """
  network = load(checkpoint, overrides)
  try:
    answers = network.ask(scene, question)
    lines = [f"{100 * p:5.1f} %  {answer}" for answer, p in answers[:3]]
    if why is not None:
      found = network.why(scene, question)
      if picture is None and network.config.model.inputs == "pixels":
        picture = scene
      drawn = None if picture is None else read_image(picture)
      # Only here, for it takes a while to import.
      from rn_jax.plots.pairs import draw_pairs

      with replacing(why) as path:
        draw_pairs(found, question, drawn).savefig(path, format="png", dpi=130)
      lines += ["", "The pairs that decided:", *found.lines(), str(why)]
  except (ValueError, OSError) as error:
    raise SystemExit(f"error: {explain(error)}") from error
  return "\n".join(lines)
