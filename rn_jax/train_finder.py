r"""Teaches a convolutional network to find the objects of a picture.

    python -m rn_jax.train_finder --records_dir=RECORDS --output=FINDER
    python launch.py --config=configs/found_fp.py --workdir=W \
        --config.data.dir=RECORDS \
        --config.train.init_from=pretrained/original_sd,FINDER

It learns from what the records say of each picture's objects: where their
centres are, and their attributes and positions; of every other picture from its
mirror image. With the second command a Relation Network that was trained on
state descriptions goes on with what the finder sees. Such a network has been
told more than questions and answers.
"""

import functools
import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import flags, logging
from jaxtyping import Array, Key

from rn_jax import run_log
from rn_jax.clevr import ATTRIBUTES, HEIGHT, MAX_OBJECTS, WIDTH
from rn_jax.data import records
from rn_jax.data.dataset import Dataset, load_dataset
from rn_jax.data.decode import decode_objects
from rn_jax.data.states import state_description
from rn_jax.data.symmetries import half_of_them, mirror_scene
from rn_jax.default_config import FINDER_CHANNELS
from rn_jax.host import cli
from rn_jax.models.conv_encoder import ConvEncoder
from rn_jax.models.object_finder import (
  HALVINGS,
  Found,
  ObjectFinder,
  cells_of,
  finding_loss,
)
from rn_jax.train_pictures import pictures_config, pictures_only, train_pictures


class FinderNetwork(nn.Module):
  """The convolutions and the finder of a Relation Network, by their names."""

  config: ml_collections.FrozenConfigDict
  axis_name: str | None = None

  @nn.compact
  def __call__(self, batch: dict, *, train: bool = False) -> Found:
    """Returns what the cells of `image` [S, H, W, 3] say; see Found."""
    dtype = jnp.dtype(self.config.dtype)
    cells = ConvEncoder(
      self.config.conv_channels,
      dtype,
      self.axis_name,
      HALVINGS,
      name="conv_encoder",
    )(batch["image"], train=train)
    return ObjectFinder(dtype, name="object_finder")(cells)


def make_config(
  records_dir: str | os.PathLike,
  image_size: int = 128,
  seed: int = 0,
  epochs: float = 10.0,
) -> ml_collections.ConfigDict:
  """Returns the config of the recipe."""
  if image_size < 2**HALVINGS or image_size % 2**HALVINGS:
    raise ValueError(
      f"image_size is {image_size}, no multiple of {2**HALVINGS}: cells would "
      "have other borders than what is in them"
    )
  config = pictures_config(records_dir, image_size, seed, FINDER_CHANNELS)
  config.optimizer.update(
    schedule="cosine",
    learning_rate=2e-3,
    warmup_epochs=0.2,
    weight_decay=0.0,
    clip_norm=5.0,
  )
  config.train.update(
    batch_size=32, num_epochs=epochs, eval_every=1.0, checkpoint_minutes=5.0
  )
  return config


def train_finder(
  config: ml_collections.ConfigDict, output: str | os.PathLike
) -> dict:
  """Trains on split "train", evaluates on "val", and writes checkpoints.

  Args:
    config: See make_config.
    output: See train_pictures, which also says what is raised.

  Returns:
    The scores of the best checkpoint; see score.
  """
  return train_pictures(
    config,
    output,
    FinderNetwork,
    load_pictures,
    lesson,
    lambda found, validation, _: score(found, validation.scenes),
    exchange=mirror,
  )


def load_pictures(config: ml_collections.ConfigDict, split: str) -> Dataset:
  """Loads a split's pictures, and where which objects are.

  Returns:
    Scenes `image` [S, H, W, 3] uint8, `objects` [S, N, 7] and `cell` [S, N];
    see finding_loss.

  Raises:
    RecordError: The records do not tell of the objects, or of other objects
      than CLEVR's.
  """
  dataset = load_dataset(config.data, "pixels", split)
  records.check_clevr(dataset.vocabulary, f"{config.data.dir}: finders")
  size = len(dataset.image_filename)
  objects = np.zeros((size, MAX_OBJECTS, 3 + len(ATTRIBUTES)), np.float32)
  places = np.zeros((size, MAX_OBJECTS, 3), np.float32)
  scenes = records.read_scenes(config.data.dir, split, decode_objects)
  for row, scene in enumerate(scenes):
    where = f"{config.data.dir}: {split} scene {scene['image_filename']}"
    objects[row] = state_description(scene["objects"], MAX_OBJECTS, where)
    found = scene["objects"]["pixel_coords"]
    if not np.isfinite(found).all():
      raise records.RecordError(
        f"{where} does not tell where its objects are in the picture; convert "
        "data whose scenes have pixel_coords"
      )
    places[row, : len(found)] = found
  places[..., :2] /= WIDTH, HEIGHT
  side = config.data.image_size // 2**HALVINGS
  cell = cells_of(places, (objects != 0).any(-1), side)
  return pictures_only(
    dataset, np.arange(size), {"values": []}, objects=objects, cell=cell
  )


def mirror(batch: dict, keys: Key[Array, " S"]) -> dict:
  """Mirrors every other picture of a batch, and what is known of it."""

  def mirrored(scene: dict) -> dict:
    cell, side = scene["cell"], scene["image"].shape[1] // 2**HALVINGS
    across = cell + side - 1 - 2 * (cell % side)
    return mirror_scene(scene) | {"cell": jnp.where(cell < 0, cell, across)}

  return jax.vmap(functools.partial(half_of_them, mirrored))(batch, keys)


def lesson(found: Found, batch: dict) -> tuple:
  """Returns the loss, and the share of objects that are found as they are."""
  right, there = right_objects(found, batch["objects"], batch["cell"])
  accuracy = right.sum(-1) / jnp.maximum(there.sum(-1), 1)
  loss = finding_loss(found, batch["objects"], batch["cell"])
  return loss.mean(), accuracy.mean()


def right_objects(found: Found, objects, cell) -> tuple:
  """Returns which objects are found with the right attributes, and which are.

  Args:
    found: Of each cell.
    objects: [S, N, 7].
    cell: [S, N].

  Returns:
    Two of bool [S, N].
  """
  there = objects[..., 3] > 0
  chosen = cell.clip(0)
  right = (cell >= 0) & (jnp.take_along_axis(found.presence, chosen, 1) > 0)
  for column, logits in enumerate(found.attributes.values(), start=3):
    value = jnp.take_along_axis(logits.argmax(-1), chosen, 1) + 1
    right &= value == objects[..., column]
  return right & there, there


def score(found: Found, scenes: dict[str, np.ndarray]) -> dict:
  """Counts what is found.

  Returns:
    `accuracy`, the share of objects that are found with all their attributes;
    `precision`, that of the found ones that are centres of objects; `counted`,
    the share of scenes of which as many are found as there are; `distance`,
    the mean error on the floor of those found, in the world's units.
  """
  objects, cell = scenes["objects"], scenes["cell"]
  right, there = map(np.asarray, right_objects(found, objects, cell))
  claimed = np.asarray(found.presence) > 0
  centres = np.zeros_like(claimed)
  centres[np.nonzero(cell >= 0)[0], cell[cell >= 0]] = True
  taken = np.minimum(claimed.sum(-1), MAX_OBJECTS)
  coordinates = np.asarray(found.coordinates)
  chosen = np.take_along_axis(coordinates, cell.clip(0)[..., None], 1)
  error = np.linalg.norm((chosen - objects[..., :3])[..., :2], axis=-1)
  return {
    "accuracy": float(right.sum() / there.sum()),
    "precision": float((claimed & centres).sum() / max(claimed.sum(), 1)),
    "counted": float((taken == there.sum(-1)).mean()),
    "distance": float(error[cell >= 0].mean()),
  }


def _main(output: str, **settings) -> None:
  run_log.quiet_backends()
  logging.set_verbosity(logging.INFO)
  scores = train_finder(make_config(**settings), output)
  for name, value in scores.items():
    print(f"{name:<10}{value:.4f}")
  print(output)


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
    flags.DEFINE_float("epochs", 10.0, "Passes over the images.", 0.01),
    flags.DEFINE_integer("seed", 0, "Root of the weights and the order."),
    flags.DEFINE_integer("image_size", 128, "Side of the images, in pixels."),
  )
