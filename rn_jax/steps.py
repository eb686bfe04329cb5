"""The two compiled steps: one update, and the answers to one batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import optax

from rn_jax import parallel
from rn_jax.data.augmentation import augment
from rn_jax.data.input_pipeline import complete
from rn_jax.models import RelationNetwork
from rn_jax.models.blocks import sum_over_blocks
from rn_jax.rng import stream
from rn_jax.train_state import TrainState


def make_model(
  config: ml_collections.ConfigDict, num_words: int, num_answers: int
) -> RelationNetwork:
  """Makes the network of a config, for a vocabulary of the given size."""
  model_config = config.model.copy_and_resolve_references()
  if model_config.scenes_per_block < 0:
    with model_config.unlocked():
      model_config.scenes_per_block = _default_block(config.model.inputs)
  return RelationNetwork(
    ml_collections.FrozenConfigDict(model_config),
    num_words,
    num_answers,
    axis_name=parallel.AXIS,
  )


def _default_block(inputs: str) -> int:
  """A block that stays in a CPU's cache; see benchmarks/relation_core.py."""
  if jax.default_backend() != "cpu":
    return 0
  return 1 if inputs == "pixels" else 16


def init_state(
  model: RelationNetwork,
  optimizer: optax.GradientTransformation,
  batch: dict,
  seed: int,
) -> TrainState:
  """Returns a fresh state; `batch` [S, K, ...] gives shapes only."""
  variables = model.init(stream(seed, "params"), batch)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=variables["params"],
    batch_stats=variables.get("batch_stats", {}),
    opt_state=optimizer.init(variables["params"]),
  )


def _cross_entropy(logits: jax.Array, batch: dict) -> jax.Array:
  """Returns the loss of each question, [S, K]; 0 where there is none."""
  answer = jnp.maximum(batch["answer"], 0)
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, answer)
  return jnp.where(batch["mask"] & (batch["answer"] >= 0), loss, 0.0)


def make_train_step(
  model: RelationNetwork,
  optimizer: optax.GradientTransformation,
  schedule: optax.Schedule,
  config: ml_collections.ConfigDict,
) -> Callable:
  """Makes the update of one device's share of a global batch.

  Returns:
    step(state, tables, batch) -> (state, metrics), to be mapped by
    parallel.pmap_train_step. Loss and gradient are means over the questions
    of the global batch, so the result does not depend on the device count.
  """
  dropout_stream = stream(config.seed, "dropout")
  augment_stream = stream(config.seed, "augment")

  def step(state: TrainState, tables: dict, batch: dict):
    batch = complete(tables, batch)
    size = batch["mask"].shape[0]

    def keys(root):
      return parallel.example_keys(jax.random.fold_in(root, state.step), size)

    if config.data.augment:
      batch["image"] = augment(batch["image"], keys(augment_stream))
    mask = batch["mask"]
    total = jax.lax.psum(mask.sum().astype(jnp.float32), parallel.AXIS)

    def loss_fn(params):
      (objects, code), updated = model.apply(
        {"params": params, "batch_stats": state.batch_stats},
        batch,
        train=True,
        method="encode",
        mutable=["batch_stats"],
      )

      def block_loss(params, inputs, rest, rows):
        logits, _ = model.apply(
          {"params": params},
          inputs["objects"],
          rest.get("object_mask"),
          inputs["question"],
          train=True,
          keys=rest["keys"],
          rows=rows,
          method="relate",
        )
        right = (logits.argmax(-1) == rest["answer"]) & rest["mask"]
        return _cross_entropy(logits, rest).sum(), right.sum(-1)

      rest = {"answer": batch["answer"], "mask": mask}
      rest["keys"] = keys(dropout_stream)
      object_mask = model.apply({}, batch, method="mask")
      if object_mask is not None:
        rest["object_mask"] = object_mask
      loss, right = sum_over_blocks(
        block_loss,
        {name: params[name] for name in ("relation_core", "answer_network")},
        {"objects": objects, "question": code},
        rest,
        object_mask,
        objects.shape[1],
        model.config.scenes_per_block,
      )
      batch_stats = updated.get("batch_stats", {})
      return loss / total, (right.sum() / total, batch_stats)

    return update(state, loss_fn, optimizer, schedule)

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
  metrics = {
    "loss": loss,
    "accuracy": accuracy,
    "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
    "gradient_norm": optax.tree.norm(gradient),
    "parameter_norm": optax.tree.norm(params),
    "update_norm": optax.tree.norm(updates),
  }
  return TrainState(state.step + 1, params, batch_stats, opt_state), metrics


def make_predict_step(model: RelationNetwork) -> Callable:
  """Makes the answers of one device's share of a global batch.

  Returns:
    step(variables, tables, batch) -> `answer` [S, K] int32, its `probability`
    and the `loss` of the true one, of the whole global batch on each device;
    to be mapped by parallel.pmap_predict_step.
  """

  def step(variables: dict, tables: dict, batch: dict):
    batch = complete(tables, batch)
    logits, _ = model.apply(variables, batch)
    predictions = {
      "answer": logits.argmax(-1).astype(jnp.int32),
      "probability": jax.nn.softmax(logits).max(-1),
      "loss": _cross_entropy(logits, batch),
    }
    return parallel.gather_over_devices(predictions)

  return step
