"""A split as a network answered it, and facts about its questions."""

import dataclasses
import re
from pathlib import Path

import numpy as np

from rn_jax.data import records
from rn_jax.data.dataset import Dataset
from rn_jax.data.decode import decode_objects, decode_program_lengths
from rn_jax.data.spelling import spell


@dataclasses.dataclass(frozen=True)
class Answered:
  """A split with its answers.

  Attributes:
    dataset: The split.
    predicted: [Q] zero-based ids.
    probability: [Q] of them.
    loss: [Q] nats of the right ones.
    records_dir: Where the split is from.
  """

  dataset: Dataset
  predicted: np.ndarray
  probability: np.ndarray
  loss: np.ndarray
  records_dir: Path

  @property
  def correct(self) -> np.ndarray:
    return self.predicted == self.dataset.questions["answer"]

  @property
  def words(self) -> np.ndarray:
    """[Q] length of each question, punctuation counted as words."""
    return self.dataset.questions["question_length"]

  def objects(self) -> np.ndarray:
    """Returns the number of objects in each question's scene, -1 unknown."""
    if "object_mask" in self.dataset.scenes:
      counts = self.dataset.scenes["object_mask"].sum(-1)
    else:
      scenes = records.read_scenes(
        self.records_dir, self.dataset.split, decode_objects
      )
      counts = np.array([len(s["objects"]["3d_coords"]) for s in scenes])
      counts[counts == 0] = -1  # not published, or none of CLEVR's
    return counts[self.dataset.questions["scene"]]

  def program_lengths(self) -> np.ndarray:
    """Returns the functions of each question's program, -1 unknown."""
    scenes = records.read_scenes(
      self.records_dir, self.dataset.split, decode_program_lengths
    )
    return np.concatenate([s["questions"]["program_length"] for s in scenes])

  def right_number(self) -> np.ndarray:
    """Returns the right answer to each question of counting, else -1."""
    numbers = [int(a) if a.isdigit() else -1 for a in self.dataset.answers]
    return np.array(numbers)[self.dataset.questions["answer"]]

  def text(self, question: int) -> str:
    """Returns a question as people write it."""
    text = spell(
      self.dataset.vocabulary,
      self.dataset.questions["question"][question],
      int(self.dataset.questions["question_length"][question]),
    )
    text = re.sub(r" ([.,;:!?])", r"\1", text)
    return text[:1].upper() + text[1:]
