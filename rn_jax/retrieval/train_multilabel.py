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
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import jax
import ml_collections
import numpy as np
import optax
from absl import flags, logging

from rn_jax import parallel, run_log
from rn_jax.checkpoint import Checkpointer
from rn_jax.data.dataset import Dataset, load_dataset
from rn_jax.data.input_pipeline import complete, make_batch
from rn_jax.data.train_order import TrainOrder
from rn_jax.default_config import get_config
from rn_jax.host import cli
from rn_jax.host.paths import local_path
from rn_jax.loop import Run
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.resuming import alone, restore
from rn_jax.retrieval.describe.multilabel import (
  VALUES,
  MultilabelNetwork,
  fewest_values,
  score,
  soft_margin_loss,
)
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs, load_scenes
from rn_jax.retrieval.scores.baselines import attribute_histogram
from rn_jax.steps import init_state, update
from rn_jax.train_state import TrainState


def make_config(
  records_dir: str | os.PathLike,
  image_size: int = 128,
  fraction: float = 0.05,
  seed: int = 0,
  epochs: int = 350,
) -> ml_collections.ConfigDict:
  """Returns the config: the recipe that was published with the network.

  It has the keys of default_config.py but for those of the model, and
  train.fraction: the share of the images that is used.
  """
  config = get_config()
  config.seed = seed
  config.model = ml_collections.ConfigDict(
    {
      "inputs": "pixels",
      "conv_channels": (24, 24, 24, 24),
      "dtype": "float32",
      "scenes_per_block": None,
    }
  )
  config.data.update(
    dir=os.path.abspath(local_path(records_dir)), image_size=image_size
  )
  config.optimizer.update(
    schedule="constant", learning_rate=2.5e-4, weight_decay=1e-4, clip_norm=None
  )
  config.train.update(
    fraction=fraction,
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
    SystemExit: SIGTERM or SIGINT arrived; the state is saved.
    BusyError: Another run trains in the folder.
    CheckpointError: The folder holds another run.
    ValueError, RecordError: The data or the fraction are unusable.
  """
  output = Path(local_path(output))
  with alone(output):
    return _train(config, output)


def _train(config: ml_collections.ConfigDict, output: Path) -> dict:
  size = config.train.batch_size
  parallel.check_divides(size, f"config.train.batch_size={size}")
  dataset = load_images(config, config.data.train_split)
  validation = load_images(config, config.data.eval_split)
  order = TrainOrder(dataset.questions["scene"], size, 1, config.seed)
  num_steps = order.num_steps(config.train.num_epochs, "images")
  network = MultilabelNetwork(
    ml_collections.FrozenConfigDict(config.model), parallel.AXIS
  )
  schedule = make_schedule(config.optimizer, order.steps_per_epoch, num_steps)
  optimizer = make_optimizer(config.optimizer, schedule)
  example = make_batch(dataset, order(0)[:1])

  def fresh_state():
    return init_state(network, optimizer, example, config.seed)

  predict = make_predict(
    network, validation.scenes["image"], config.eval.batch_size
  )
  with Checkpointer(output) as checkpointer:
    like = jax.eval_shape(fresh_state)
    state = restore(checkpointer, like, config, dataset, order, output)
    if state is None:
      state = jax.jit(fresh_state)()
    with run_log.MetricsLog(output, int(state.step)) as log:
      run = Run(
        config=config,
        dataset=dataset,
        order=order,
        num_steps=num_steps,
        step=make_step(network, optimizer, schedule),
        score=lambda *args: score(
          predict(*args),
          validation.scenes["targets"],
          dataset.scenes["targets"],
        ),
        checkpointer=checkpointer,
        log=log,
        unit="images",
      )
      run.fit(state)
    return run.best_scores(output)


def load_images(config: ml_collections.ConfigDict, split: str) -> Dataset:
  """Loads the images of a split that contain the fewest values.

  Returns:
    Scenes `image` [S, H, W, 3] uint8 and `targets` [S, 15] bool. Nothing is
    asked about them.
  """
  targets = contained_values(load_scenes(None, config.data.dir, split))
  dataset = load_dataset(config.data, "pixels", split)
  rows = fewest_values(targets, config.train.fraction)
  return dataclasses.replace(
    dataset,
    scenes={"image": dataset.scenes["image"][rows], "targets": targets[rows]},
    questions={"scene": np.arange(len(rows))},
    family=np.full(len(rows), ""),
    image_filename=dataset.image_filename[rows],
    vocabulary={"values": list(VALUES)},
  )


def contained_values(scenes: SceneGraphs) -> np.ndarray:
  """Returns which attribute values are in each scene, bool [S, 15]."""
  return attribute_histogram(scenes) > 0


def make_step(
  network: MultilabelNetwork,
  optimizer: optax.GradientTransformation,
  schedule: optax.Schedule,
) -> Callable:
  """Makes the update of one device's share of a global batch.

  Returns:
    step(state, tables, batch) -> (state, metrics); see steps.update.
  """

  def step(state: TrainState, tables: dict, batch: dict):
    batch = complete(tables, batch)

    def loss_fn(params):
      (logits, _), updated = network.apply(
        {"params": params, "batch_stats": state.batch_stats},
        batch,
        train=True,
        mutable=["batch_stats"],
      )
      targets = batch["targets"]
      devices = jax.lax.psum(1, parallel.AXIS)
      loss = soft_margin_loss(logits, targets) / devices
      accuracy = ((logits > 0) == targets).mean() / devices
      return loss, (accuracy, updated["batch_stats"])

    return update(state, loss_fn, optimizer, schedule)

  return step


def make_predict(
  network: MultilabelNetwork, images: np.ndarray, size: int
) -> Callable[[dict], np.ndarray]:
  """Makes predict(variables) -> the logits of all images, [S, 15].

  A second argument is called after each batch, and may raise.
  """
  apply = jax.jit(
    lambda variables, x: network.apply(variables, {"image": x})[0]
  )
  starts = range(0, len(images), size)

  def predict(variables, between=lambda: None):
    logits = []
    for i in starts:
      logits.append(np.asarray(apply(variables, images[i : i + size])))
      between()
    return np.concatenate(logits)

  return predict


def _format(scores: dict) -> str:
  rows = [*scores["values"].items()]
  for label, name in (("all values", "accuracy"), ("all right", "all_right")):
    rows.append((label, (scores[name], scores[f"majority_{name}"])))
  lines = [f"{'accuracy in %':<14}{'network':>9}{'majority':>10}"]
  lines += [f"{n:<14}{100 * a:>9.1f}{100 * b:>10.1f}" for n, (a, b) in rows]
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
      "records_dir", None, "Records folder, with images.", required=True
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
    flags.DEFINE_integer("seed", 0, "Root of the weights and the order."),
    flags.DEFINE_integer("image_size", 128, "Side of the images, in pixels."),
  )
