"""Objects from state descriptions: rows of coordinates and attributes."""

import jax
import jax.numpy as jnp

from rn_jax.clevr import ATTRIBUTES


def encode_states(objects: jax.Array, one_hot: bool) -> jax.Array:
  """Encodes state descriptions.

  Args:
    objects: [..., 7], rows of x, y, z and the one-based indices of colour,
      material, shape and size (the reference's rows); zeros where there is
      no object.
    one_hot: One-hot attributes in place of the reference's raw indices, which
      put an order on colours that they do not have.

  Returns:
    [..., 18] with one_hot, the rows themselves [..., 7] without.
  """
  if not one_hot:
    return objects
  parts = [objects[..., :3]]
  for column, values in enumerate(ATTRIBUTES.values(), start=3):
    index = objects[..., column].astype(jnp.int32) - 1
    # An index of -1 (no object) becomes a row of zeros.
    parts.append(jax.nn.one_hot(index, len(values), dtype=objects.dtype))
  return jnp.concatenate(parts, -1)
