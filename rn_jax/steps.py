"""The two compiled steps: one update, and the answers to one batch."""

import functools
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import Array, Float, Int, Key

from rn_jax import parallel
from rn_jax.data.augmentation import augment
from rn_jax.data.input_pipeline import complete
from rn_jax.models import RelationNetwork
from rn_jax.models.blocks import sum_over_blocks
from rn_jax.models.relation_network import answer_in_blocks
from rn_jax.models.scene import Scene
from rn_jax.plateau import rate_scale
from rn_jax.rng import stream
from rn_jax.settings import resolve
from rn_jax.train_state import TrainState


def make_model(
  config: ml_collections.ConfigDict, num_words: int, num_answers: int
) -> RelationNetwork:
  """Makes the network of a config, for a vocabulary of the given size."""
  return RelationNetwork(
    ml_collections.FrozenConfigDict(resolve(config).model),
    num_words,
    num_answers,
    axis_name=parallel.AXIS,
  )


def init_state(
  model: nn.Module,
  optimizer: optax.GradientTransformation,
  batch: dict,
  seed: int,
) -> TrainState:
  """Returns a fresh state; `batch` [S, K, ...] gives shapes only."""
  batch = jax.tree.map(jnp.asarray, batch)
  variables = model.init(stream(seed, "params"), batch)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=variables["params"],
    batch_stats=variables.get("batch_stats", {}),
    opt_state=optimizer.init(variables["params"]),
  )


def _cross_entropy(
  logits: Float[Array, "S K A"], batch: dict
) -> Float[Array, "S K"]:
  """Returns the loss of each question; 0 where there is none."""
  answer = jnp.maximum(batch["answer"], 0)
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, answer)
  return jnp.where(batch["mask"] & (batch["answer"] >= 0), loss, 0.0)


def make_train_step(
  model: RelationNetwork,
  optimizer: optax.GradientTransformation,
  schedule: optax.Schedule,
  config: ml_collections.ConfigDict,
  exchange: Callable[[dict, Key[Array, " S"]], dict] | None = None,
) -> Callable:
  """Makes the update of one device's share of a global batch.

  Args:
    model: The network.
    optimizer: See make_optimizer.
    schedule: Its learning rate.
    config: The whole config.
    exchange: See symmetries.py; None: none.

  Returns:
    step(state, tables, batch) -> (state, metrics), to be mapped by
    parallel.pmap_train_step. Loss and gradient are means over the questions
    of the global batch, so the result does not depend on the device count.
  """
  dropout_stream = stream(config.seed, "dropout")
  augment_stream = stream(config.seed, "augment")
  exchange_stream = stream(config.seed, "symmetries")

  def step(state: TrainState, tables: dict, batch: dict):
    batch = complete(tables, batch)

    def keys(root):
      root = jax.random.fold_in(root, state.step)
      return parallel.example_keys(root, len(batch["mask"]))

    if exchange is not None:
      batch = exchange(batch, keys(exchange_stream))
    if config.data.augment:
      batch["image"] = augment(batch["image"], keys(augment_stream))
    return update(
      state,
      lambda params: _loss(
        params, model, state.batch_stats, batch, keys(dropout_stream)
      ),
      optimizer,
      schedule,
    )

  return step


def update(
  state: TrainState,
  loss_fn: Callable,
  optimizer: optax.GradientTransformation,
  schedule: optax.Schedule,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """Makes one update, with the gradient summed over all devices.

  Args:
    state: Before it.
    loss_fn: From parameters to (loss, (accuracy, batch_stats)): this device's
      shares of the loss and the accuracy of the global batch.
    optimizer: See make_optimizer.
    schedule: Its learning rate.

  Returns:
    The state after it, and what is logged of it.
  """
  (loss, (accuracy, batch_stats)), gradient = jax.value_and_grad(
    loss_fn, has_aux=True
  )(state.params)
  gradient, loss, accuracy = parallel.sum_over_devices(
    (gradient, loss, accuracy)
  )
  updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  rate = schedule(state.step) * rate_scale(state.opt_state)
  metrics = {
    "loss": loss,
    "accuracy": accuracy,
    "learning_rate": jnp.asarray(rate, jnp.float32),
    "gradient_norm": optax.tree.norm(gradient),
    "parameter_norm": optax.tree.norm(params),
    "update_norm": optax.tree.norm(updates),
  }
  return TrainState(state.step + 1, params, batch_stats, opt_state), metrics


def _loss(
  params: dict,
  model: RelationNetwork,
  batch_stats: Mapping,
  batch: dict,
  keys: Key[Array, " S"],
) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Mapping]]:
  """Returns this device's part of the global batch's mean loss.

  And its part of the accuracy, and the new statistics of BatchNorm. The keys
  are dropout's.
  """
  mask = batch["mask"]
  total = jax.lax.psum(mask.sum().astype(jnp.float32), parallel.AXIS)
  (scene, code), updated = model.apply(
    {"params": params, "batch_stats": batch_stats},
    batch,
    train=True,
    method="encode",
    mutable=["batch_stats"],
  )
  loss, right = sum_over_blocks(
    functools.partial(_block_loss, model),
    {name: params[name] for name in model.reasoner},
    scene,
    code,
    {"answer": batch["answer"], "mask": mask, "keys": keys},
    model.config.scenes_per_block,
  )
  batch_stats = updated.get("batch_stats") or {}
  return loss / total, (right.sum() / total, batch_stats)


def _block_loss(
  model: RelationNetwork,
  params: dict,
  scene: Scene,
  question: Float[Array, "S K Q"],
  rest: dict,
) -> tuple[Float[Array, ""], Int[Array, " S"]]:
  """Returns a block's summed loss, and how many answers are right."""
  logits, _ = model.apply(
    {"params": params}, scene, question, keys=rest["keys"], method="reason"
  )
  given = logits[..., : model.num_answers].argmax(-1)
  right = (given == rest["answer"]) & rest["mask"]
  return _cross_entropy(logits, rest).sum(), right.sum(-1)


def make_predict_step(model: RelationNetwork) -> Callable:
  """Makes the answers of one device's share of a global batch.

  Returns:
    step(variables, tables, batch) -> `answer` [S, K] int32, its `probability`
    and the `loss` of the true one, of the whole global batch on each device;
    to be mapped by parallel.pmap_predict_step.
  """
  answers = model.num_answers

  def step(variables: dict, tables: dict, batch: dict):
    batch = complete(tables, batch)
    logits = answer_in_blocks(model, variables, batch)
    predictions = {
      "answer": logits[..., :answers].argmax(-1).astype(jnp.int32),
      "probability": jax.nn.softmax(logits)[..., :answers].max(-1),
      "loss": _cross_entropy(logits, batch),
    }
    return parallel.gather_over_devices(predictions)

  return step
