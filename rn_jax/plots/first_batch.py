"""The contact sheet of a run's first batch: what the network really reads."""

from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from rn_jax.data.augmentation import augment
from rn_jax.data.dataset import Dataset
from rn_jax.data.input_pipeline import make_batch
from rn_jax.data.spelling import spell
from rn_jax.data.symmetries import make_symmetries
from rn_jax.plots.contact_sheet import Panel, draw_contact_sheet
from rn_jax.rng import stream

_NUM_SCENES = 6
_NUM_QUESTIONS = 4


def draw(
  path: Path,
  dataset: Dataset,
  groups: np.ndarray,
  config: ml_collections.ConfigDict,
) -> None:
  """Draws the first scenes of a batch.

  Images are augmented and scenes exchanged if the config says so, and questions
  are spelled back from their word indices, so that a fault in any can be seen.

  Args:
    path: PNG file to write.
    dataset: The train split.
    groups: [S, K] question numbers of the batch; see input_pipeline.
    config: The whole config.
  """
  groups = groups[:_NUM_SCENES]
  batch = make_batch(dataset, groups)
  keys = jax.random.split(stream(config.seed, "first_batch"), len(groups))
  if names := config.data.symmetries:
    exchange = jax.jit(make_symmetries(names, dataset.vocabulary))
    batch = jax.tree.map(np.asarray, exchange(batch, keys))
  pictures = batch["image" if "image" in batch else "objects"]
  if config.data.augment:
    pictures = np.asarray(jax.jit(augment)(jnp.asarray(pictures), keys))
  answers = dataset.answers
  panels = [
    Panel(
      title=str(dataset.image_filename[scene]),
      picture=picture,
      questions=[
        (
          spell(dataset.vocabulary, question, length),
          answers[answer] if answer >= 0 else "(no answer)",
        )
        for question, length, answer, live in zip(
          batch["question"][row],
          batch["question_length"][row],
          batch["answer"][row],
          batch["mask"][row],
          strict=True,
        )
        if live
      ][:_NUM_QUESTIONS],
    )
    for row, (picture, scene) in enumerate(
      zip(
        pictures,
        dataset.questions["scene"][np.maximum(groups[:, 0], 0)],
        strict=True,
      )
    )
  ]
  draw_contact_sheet(path, panels, "first training batch")
