"""Checkpoints of networks with random weights, made without compiling."""

import jax
import jax.numpy as jnp
import numpy as np

from rn_jax.checkpoint import write_model
from rn_jax.data.punctuation import words_with_marks
from rn_jax.data.records import read_vocabulary
from rn_jax.steps import make_model


def write_network(path, config, seed=0):
  """Writes a network for the records of config.data; returns (model, vars)."""
  vocabulary = read_vocabulary(config.data.dir)
  vocabulary["questions"] = words_with_marks(
    vocabulary["questions"], config.data.punctuation
  )
  model = make_model(
    config, len(vocabulary["questions"]), len(vocabulary["answers"])
  )
  rng = np.random.default_rng(seed)

  def draw(shape):
    if len(shape.shape) < 2:  # biases, and what batches are normalised with
      return rng.uniform(0.1, 0.9, shape.shape).astype(np.float32)
    scale = np.prod(shape.shape[:-1]) ** -0.5
    return (scale * rng.normal(size=shape.shape)).astype(np.float32)

  shapes = jax.eval_shape(model.init, jax.random.key(0), empty_batch(config))
  variables = jax.tree.map(draw, shapes)
  write_model(path, variables, config=config.to_dict(), vocabulary=vocabulary)
  return model, variables


def empty_batch(config):
  """One scene and one question, which give shapes only."""
  side, rows = config.data.image_size, config.data.max_objects
  return {
    "image": jnp.zeros((1, side, side, 3), jnp.uint8),
    "objects": jnp.zeros((1, rows, 7), jnp.float32),
    "object_mask": jnp.ones((1, rows), bool),
    "question": jnp.ones((1, 1, 3), jnp.int32),
    "question_length": jnp.full((1, 1), 3, jnp.int32),
  }
