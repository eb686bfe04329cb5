r"""Trains the multi-label CNN, a baseline of retrieval.

    python -m rn_jax.retrieval.train_multilabel --records_dir=RECORDS \
        --output=CHECKPOINTS
    python launch.py --mode=extract --checkpoint=CHECKPOINTS --workdir=W \
        --config.data.dir=RECORDS

The second command writes the descriptor "multilabel conv avg" into
W/features_val.npz. The recipe is the one published with it: 350 epochs on the
5 % of images that contain the fewest attribute values, validated on the same
share every ten epochs; the best checkpoint counts. The trainer is the Relation
Network's (rn_jax/train.py): a stopped run goes on where it was saved last, and
CHECKPOINTS/metrics.jsonl tells of it. One device is enough.

Its convolutions are a beginning for a Relation Network from pixels:
--config.train.init_from=CHECKPOINTS of launch.py takes them over.
"""

import os

import jax
import ml_collections
import numpy as np
from absl import flags, logging

from rn_jax import run_log
from rn_jax.data.dataset import Dataset, load_dataset
from rn_jax.host import cli
from rn_jax.retrieval.describe.multilabel import (
  VALUES,
  MultilabelNetwork,
  fewest_values,
  score,
  soft_margin_loss,
)
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs, load_scenes
from rn_jax.retrieval.scores.baselines import attribute_histogram
from rn_jax.train_pictures import pictures_config, pictures_only, train_pictures


def make_config(
  records_dir: str | os.PathLike,
  image_size: int = 128,
  fraction: float = 0.05,
  val_fraction: float | None = None,
  seed: int = 0,
  epochs: int = 350,
) -> ml_collections.ConfigDict:
  """Returns the config: the recipe that was published with the network.

  It also has train.fraction and train.val_fraction: the shares of the training
  and validation images that are used, by default the same.
  """
  config = pictures_config(records_dir, image_size, seed, (24, 24, 24, 24))
  config.optimizer.update(
    schedule="constant", learning_rate=2.5e-4, weight_decay=1e-4, clip_norm=None
  )
  config.train.update(
    fraction=fraction,
    val_fraction=fraction if val_fraction is None else val_fraction,
    batch_size=64,
    num_epochs=epochs,
    eval_every=10,
    checkpoint_minutes=1,
  )
  return config


def train_multilabel(
  config: ml_collections.ConfigDict, output: str | os.PathLike
) -> dict:
  """Trains on split "train", evaluates on "val", and writes checkpoints.

  Args:
    config: See make_config.
    output: The checkpoints folder, and the folder of metrics.jsonl; a run that
      was stopped is resumed.

  Returns:
    The scores of the best checkpoint; see multilabel.py.

  Raises:
    ValueError, RecordError: The data or the fraction are unusable; and what
      train_pictures raises.
  """
  return train_pictures(
    config,
    output,
    MultilabelNetwork,
    load_images,
    lesson,
    lambda logits, validation, dataset: score(
      logits, validation.scenes["targets"], dataset.scenes["targets"]
    ),
    said=lambda outputs: outputs[0],
  )


def load_images(config: ml_collections.ConfigDict, split: str) -> Dataset:
  """Loads the images of a split that contain the fewest values.

  Returns:
    Scenes `image` [S, H, W, 3] uint8 and `targets` [S, 15] bool. Nothing is
    asked about them.
  """
  targets = contained_values(load_scenes(None, config.data.dir, split))
  dataset = load_dataset(config.data, "pixels", split)
  train = config.train
  of_training = split == config.data.train_split
  rows = fewest_values(
    targets, train.fraction if of_training else train.val_fraction
  )
  return pictures_only(dataset, rows, {"values": list(VALUES)}, targets=targets)


def contained_values(scenes: SceneGraphs) -> np.ndarray:
  """Returns which attribute values are in each scene, bool [S, 15]."""
  return attribute_histogram(scenes) > 0


def lesson(outputs: tuple, batch: dict) -> tuple[jax.Array, jax.Array]:
  """Returns the loss and the accuracy of a batch."""
  logits, targets = outputs[0], batch["targets"]
  return soft_margin_loss(logits, targets), ((logits > 0) == targets).mean()


def _format(scores: dict) -> str:
  rows = [*scores["values"].items()]
  for label, name in (("all values", "accuracy"), ("all right", "all_right")):
    rows.append((label, (scores[name], scores[f"majority_{name}"])))
  lines = [f"{'accuracy in %':<14}{'network':>9}{'majority':>10}"]
  lines += [f"{n:<14}{100 * a:>9.1f}{100 * b:>10.1f}" for n, (a, b) in rows]
  lines.append(
    f"{'mean average precision':<23}{scores['mean_average_precision']:.4f}, "
    f"by chance {scores['chance_average_precision']:.4f}"
  )
  return "\n".join(lines)


def _main(output: str, **settings) -> None:
  run_log.quiet_backends()
  logging.set_verbosity(logging.INFO)
  scores = train_multilabel(make_config(**settings), output)
  print(f"{_format(scores)}\n{output}")


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "records_dir",
      None,
      "Records folder, with images.",
      required=True,
      addresses=True,
    ),
    cli.path_flag(
      "output", None, "Checkpoints folder to write.", required=True
    ),
    flags.DEFINE_integer("epochs", 350, "Passes over the images.", 1),
    flags.DEFINE_float(
      "fraction",
      0.05,
      "Share of each split's images to use, those of fewest values first.",
    ),
    flags.DEFINE_float(
      "val_fraction", None, "That of the validation split; not given: the same."
    ),
    flags.DEFINE_integer("seed", 0, "Root of the weights and the order."),
    flags.DEFINE_integer("image_size", 128, "Side of the images, in pixels."),
  )
