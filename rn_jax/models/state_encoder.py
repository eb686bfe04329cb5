"""Objects from state descriptions: rows of coordinates and attributes."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rn_jax.clevr import ATTRIBUTES


def encode_states(
  objects: Float[Array, "*S 7"], one_hot: bool
) -> Float[Array, "*S F"]:
  """Encodes state descriptions.

  Args:
    objects: Rows of x, y, z and the one-based indices of colour, material,
      shape and size (the reference's rows); zeros where there is no object.
    one_hot: One-hot attributes in place of the reference's raw indices, which
      put an order on colours that they do not have.

  Returns:
    18 features with one_hot, the rows themselves without.
  """
  if not one_hot:
    return objects
  parts = [objects[..., :3]]
  for column, values in enumerate(ATTRIBUTES.values(), start=3):
    index = objects[..., column].astype(jnp.int32) - 1
    # An index of -1 (no object) becomes a row of zeros.
    parts.append(jax.nn.one_hot(index, len(values), dtype=objects.dtype))
  return jnp.concatenate(parts, -1)


def likeliest_states(objects: Float[Array, "*S 18"]) -> Float[Array, "*S 7"]:
  """Returns the state descriptions that one-hot features most likely stand for.

  Args:
    objects: Features as encode_states has them, or with probabilities in place
      of ones and zeros.
  """
  ends = np.cumsum([3, *map(len, ATTRIBUTES.values())])[:-1]
  coordinates, *values = jnp.split(objects, ends, -1)
  indices = [x.argmax(-1, keepdims=True) + 1.0 for x in values]
  return jnp.concatenate([coordinates, *indices], -1)
