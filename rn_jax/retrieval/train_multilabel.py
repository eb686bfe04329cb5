"""Trains the multi-label CNN, a baseline of retrieval.

    python -m rn_jax.retrieval.train_multilabel --records_dir=RECORDS \
        --output=CHECKPOINTS
    python launch.py --mode=extract --checkpoint=CHECKPOINTS --workdir=W \
        --config.data.dir=RECORDS

The second command writes the descriptor "multilabel conv avg" into
W/features_val.npz. The recipe is the one published with it: 350 epochs on the
5 % of images that contain the fewest attribute values, validated on the same
share. A stopped run goes on where it was saved last. One device is enough.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from absl import app, flags, logging
from tqdm import tqdm

from rn_jax.checkpoint import Checkpointer, CheckpointError
from rn_jax.data.dataset import load_dataset
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.retrieval.describe.multilabel import (
  VALUES,
  MultilabelNetwork,
  contained_values,
  fewest_values,
  score,
  soft_margin_loss,
)
from rn_jax.retrieval.scene_graphs.scene_graph import load_scenes
from rn_jax.rng import stream
from rn_jax.run_log import quiet_backends
from rn_jax.train_state import TrainState

_SAVE_SECONDS = 60


def make_config(
  records_dir: str | os.PathLike, image_size: int, fraction: float, seed: int
) -> ml_collections.ConfigDict:
  """Returns what a checkpoint says of the network and its training."""
  return ml_collections.ConfigDict(
    {
      "model": {
        "inputs": "pixels",
        "conv_channels": (24, 24, 24, 24),
        "dtype": "float32",
        "scenes_per_block": 0,
      },
      "data": {
        "dir": os.path.abspath(records_dir),
        "image_size": image_size,
        "max_question_length": 0,
        "cache": True,
      },
      "train": {
        "seed": seed,
        "fraction": fraction,
        "batch_size": 64,
      },
      "optimizer": {
        "schedule": "constant",
        "learning_rate": 2.5e-4,
        "weight_decay": 1e-4,
        "decoupled_weight_decay": False,
        "clip_norm": 0.0,
      },
      "eval": {"batch_size": 64},
    }
  )


def train_multilabel(
  config: ml_collections.ConfigDict,
  output: str | os.PathLike,
  epochs: int = 350,
) -> dict:
  """Trains on split "train", evaluates on "val", and writes a checkpoint.

  Args:
    config: See make_config.
    output: The checkpoints folder; a run that was stopped is resumed.
    epochs: Of full batches; what is left over of an epoch is not read in it.

  Returns:
    The scores; see multilabel.py.

  Raises:
    CheckpointError: The folder holds another run.
    ValueError, RecordError: The data or the fraction are unusable.
  """
  images, targets, sha256 = load_images(config, "train")
  val_images, val_targets, _ = load_images(config, "val")
  network = MultilabelNetwork(ml_collections.FrozenConfigDict(config.model))
  settings = config.train
  size = min(settings.batch_size, len(images))
  steps = len(images) // size
  schedule = make_schedule(config.optimizer, steps, epochs * steps)
  optimizer = make_optimizer(config.optimizer, schedule)

  @jax.jit
  def fresh_state():
    key = stream(settings.seed, "params")
    variables = network.init(key, {"image": images[:1]})
    params, batch_stats = variables["params"], variables["batch_stats"]
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, params, batch_stats, optimizer.init(params))

  update = make_update(network, optimizer)
  with Checkpointer(output) as checkpointer:

    def save(state, metrics=None):
      checkpointer.save(
        state,
        config=config.to_dict(),
        vocabulary={"values": list(VALUES)},
        data_sha256=sha256,
        metrics=metrics,
      )

    restored = checkpointer.restore_latest(jax.eval_shape(fresh_state))
    if restored is None:
      state = fresh_state()
    else:
      state, meta = restored
      same = all(
        meta["config"][part] == config[part].to_dict()
        for part in ("train", "optimizer")
      )
      if not same or meta["data_sha256"] != sha256:
        raise CheckpointError(
          f"{output} holds a run of other settings or records; name another "
          "--output"
        )
      logging.info("Resuming after update %d", int(state.step))
    saved_at = time.monotonic()
    done = int(state.step) // steps
    progress = tqdm(
      range(done, epochs),
      initial=done,
      total=epochs,
      desc=f"{len(images)} images",
      unit=" epochs",
      mininterval=1.0,
    )
    for epoch in progress:
      if time.monotonic() - saved_at >= _SAVE_SECONDS:
        save(state)
        saved_at = time.monotonic()
      rng = np.random.default_rng([settings.seed, epoch])
      order = rng.permutation(len(images))[: steps * size]
      for rows in np.split(order, steps):
        state, loss = update(state, images[rows], targets[rows])
      progress.set_postfix(loss=f"{loss:.4f}")
    logits = predict(network, state, val_images, config.eval.batch_size)
    scores = score(logits, val_targets, targets)
    save(state, {k: v for k, v in scores.items() if k != "values"})
  return scores


def load_images(
  config: ml_collections.ConfigDict, split: str
) -> tuple[np.ndarray, np.ndarray, str]:
  """Loads the images of a split that contain the fewest values.

  Returns:
    Images [S, H, W, 3] uint8, targets [S, 15] bool, and a hash of the split.
  """
  data = config.data
  targets = contained_values(load_scenes(None, data.dir, split))
  dataset = load_dataset(data, "pixels", split)
  rows = fewest_values(targets, config.train.fraction)
  return dataset.scenes["image"][rows], targets[rows], dataset.sha256


def make_update(
  network: MultilabelNetwork, optimizer: optax.GradientTransformation
) -> Callable:
  """Makes update(state, images, targets) -> (state, loss)."""

  def update(state, images, targets):
    def loss_fn(params):
      (logits, _), updated = network.apply(
        {"params": params, "batch_stats": state.batch_stats},
        {"image": images},
        train=True,
        mutable=["batch_stats"],
      )
      return soft_margin_loss(logits, targets), updated["batch_stats"]

    (loss, batch_stats), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
      state.params
    )
    updates, opt_state = optimizer.update(
      gradient, state.opt_state, state.params
    )
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, batch_stats, opt_state), loss

  return jax.jit(update)


def predict(
  network: MultilabelNetwork, state: TrainState, images: np.ndarray, size: int
) -> np.ndarray:
  """Returns the logits of all images, [S, 15]."""
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  apply = jax.jit(lambda x: network.apply(variables, {"image": x})[0])
  parts = [apply(images[i : i + size]) for i in range(0, len(images), size)]
  return np.concatenate(parts)


def _format(scores: dict) -> str:
  rows = [*scores["values"].items()]
  for label, name in (("all values", "accuracy"), ("all right", "all_right")):
    rows.append((label, (scores[name], scores[f"commoner_{name}"])))
  lines = [f"{'accuracy in %':<14}{'network':>9}{'commoner':>10}"]
  lines += [f"{n:<14}{100 * a:>9.1f}{100 * b:>10.1f}" for n, (a, b) in rows]
  return "\n".join(lines)


def _define_flags() -> dict[str, flags.FlagHolder]:
  """Defines the flags; only when run as a program."""
  holders = [
    flags.DEFINE_string("records_dir", None, "Records folder.", required=True),
    flags.DEFINE_string("output", None, "Checkpoints folder.", required=True),
    flags.DEFINE_integer("epochs", 350, "Epochs.", lower_bound=1),
    flags.DEFINE_float("fraction", 0.05, "Of images, fewest values first."),
    flags.DEFINE_integer("seed", 0, "Of weights and order."),
    flags.DEFINE_integer("image_size", 128, "Side of the records' images."),
  ]
  return {holder.name: holder for holder in holders}


def _main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments {argv[1:]}")
  given = {name: flag.value for name, flag in _FLAGS.items()}
  output, epochs = Path(given.pop("output")), given.pop("epochs")
  quiet_backends()
  try:
    scores = train_multilabel(make_config(**given), output, epochs)
  except (CheckpointError, ValueError, OSError) as error:
    raise SystemExit(f"error: {error}") from error
  print(f"{_format(scores)}\n{output}")


if __name__ == "__main__":
  _FLAGS = _define_flags()
  app.run(_main)
