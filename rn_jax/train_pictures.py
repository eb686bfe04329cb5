"""Training of networks that look at pictures and are asked nothing.

What such networks learn differs, how they are trained does not: with the
Relation Network's own loop, optimizer and checkpoints. The multi-label CNN and
the finder of objects are trained so.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import ml_collections
import numpy as np
import optax

from rn_jax import parallel, run_log
from rn_jax.checkpoint import Checkpointer
from rn_jax.data.dataset import Dataset
from rn_jax.data.input_pipeline import complete, make_batch
from rn_jax.data.train_order import TrainOrder
from rn_jax.default_config import get_config
from rn_jax.host.paths import absolute, local_path
from rn_jax.loop import Run
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.resuming import alone, restore
from rn_jax.rng import stream
from rn_jax.steps import init_state, update
from rn_jax.train_state import TrainState

# (outputs of the network, batch) -> the loss and the accuracy, each a mean over
# the pictures of the batch.
Lesson = Callable[[Any, dict], tuple[jax.Array, jax.Array]]


def pictures_config(
  records_dir: str | os.PathLike,
  image_size: int,
  seed: int,
  channels: Sequence[int],
) -> ml_collections.ConfigDict:
  """Returns a config with the keys of default_config.py, of the model some."""
  config = get_config()
  config.seed = seed
  config.model = ml_collections.ConfigDict(
    {
      "inputs": "pixels",
      "conv_channels": channels,
      "dtype": "float32",
      "scenes_per_block": None,
    }
  )
  config.data.update(dir=absolute(records_dir), image_size=image_size)
  return config


def pictures_only(
  dataset: Dataset,
  rows: np.ndarray,
  vocabulary: dict,
  **targets: np.ndarray,
) -> Dataset:
  """Returns some pictures of a split with what is to be learned of them.

  Args:
    dataset: From pixels.
    rows: Which pictures.
    vocabulary: Goes into the checkpoints.
    targets: More arrays of all pictures, by name.
  """
  scenes = {"image": dataset.scenes["image"], **targets}
  if len(rows) < len(dataset.scenes["image"]):  # else they stay where they are
    scenes = {name: values[rows] for name, values in scenes.items()}
  return dataclasses.replace(
    dataset,
    scenes=scenes,
    questions={"scene": np.arange(len(rows))},
    family=np.full(len(rows), ""),
    image_filename=dataset.image_filename[rows],
    vocabulary=vocabulary,
  )


def train_pictures(
  config: ml_collections.ConfigDict,
  output: str | os.PathLike,
  network_class: Callable[..., nn.Module],
  load: Callable[[ml_collections.ConfigDict, str], Dataset],
  lesson: Lesson,
  score: Callable[[Any, Dataset, Dataset], dict],
  said: Callable[[Any], Any] = lambda outputs: outputs,
  exchange: Callable[[dict, jax.Array], dict] | None = None,
) -> dict:
  """Trains on one split, evaluates on another, and writes checkpoints.

  Args:
    config: See pictures_config.
    output: The checkpoints folder, and the folder of metrics.jsonl; a run that
      was stopped is resumed.
    network_class: (config.model, name of the pmap axis) -> a network from a
      batch to its outputs.
    load: (config, split) -> what pictures_only returns.
    lesson: See Lesson.
    score: (what the network says of all pictures of the validation split, that
      split, the training split) -> scores, see Run.
    said: What of the outputs is scored.
    exchange: See make_step.

  Returns:
    The scores of the best checkpoint.

  Raises:
    SystemExit: SIGTERM or SIGINT arrived; the state is saved.
    BusyError: Another run trains in the folder.
    CheckpointError: The folder holds another run.
    ValueError, RecordError: The data or the batch are unusable.
  """
  output = Path(local_path(output))
  with alone(output):
    size = config.train.batch_size
    parallel.check_divides(size, f"config.train.batch_size={size}")
    dataset, validation = (
      load(config, split)
      for split in (config.data.train_split, config.data.eval_split)
    )
    network = network_class(
      ml_collections.FrozenConfigDict(config.model), parallel.AXIS
    )
    predict = make_predict(
      lambda variables, batch: said(network.apply(variables, batch)),
      validation.scenes["image"],
      config.eval.batch_size,
    )
    order = TrainOrder(dataset.questions["scene"], size, 1, config.seed)
    num_steps = order.num_steps(config.train.num_epochs, "images")
    schedule = make_schedule(config.optimizer, order.steps_per_epoch, num_steps)
    optimizer = make_optimizer(config.optimizer, schedule)
    example = make_batch(dataset, order(0)[:1])

    def fresh_state():
      return init_state(network, optimizer, example, config.seed)

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
          step=make_step(
            network, optimizer, schedule, lesson, exchange, config.seed
          ),
          score=lambda *args: score(predict(*args), validation, dataset),
          checkpointer=checkpointer,
          log=log,
          unit="images",
        )
        run.fit(state)
      return run.best_scores(output)


def make_step(
  network: nn.Module,
  optimizer: optax.GradientTransformation,
  schedule: optax.Schedule,
  lesson: Lesson,
  exchange: Callable[[dict, jax.Array], dict] | None = None,
  seed: int = 0,
) -> Callable:
  """Makes the update of one device's share of a global batch.

  Args:
    network: From a batch to its outputs.
    optimizer: See make_optimizer.
    schedule: Its learning rate.
    lesson: See Lesson.
    exchange: (batch, keys [S]) -> a batch that is as likely; None: none.
    seed: Root of its keys.

  Returns:
    step(state, tables, batch) -> (state, metrics); see steps.update.
  """

  exchange_stream = stream(seed, "symmetries")

  def step(state: TrainState, tables: dict, batch: dict):
    batch = complete(tables, batch)
    if exchange is not None:
      root = jax.random.fold_in(exchange_stream, state.step)
      batch = exchange(batch, parallel.example_keys(root, len(batch["image"])))

    def loss_fn(params):
      outputs, updated = network.apply(
        {"params": params, "batch_stats": state.batch_stats},
        batch,
        train=True,
        mutable=["batch_stats"],
      )
      devices = jax.lax.psum(1, parallel.AXIS)
      loss, accuracy = lesson(outputs, batch)
      return loss / devices, (accuracy / devices, updated["batch_stats"])

    return update(state, loss_fn, optimizer, schedule)

  return step


def make_predict(
  apply: Callable[[Any, dict], Any], images: np.ndarray, size: int
) -> Callable[..., Any]:
  """Makes predict(variables) -> what a network says of all images.

  Args:
    apply: (variables, batch) -> a tree of arrays [S, ...].
    images: [S, H, W, 3].
    size: Images of a batch.

  Returns:
    The function. A second argument is called after each batch, and may raise.
  """
  apply = jax.jit(apply)
  starts = range(0, len(images), size)

  def predict(variables, between=lambda: None):
    outputs = []
    for i in starts:
      found = apply(variables, {"image": images[i : i + size]})
      outputs.append(jax.tree.map(np.asarray, found))
      between()
    return jax.tree.map(lambda *parts: np.concatenate(parts), *outputs)

  return predict
