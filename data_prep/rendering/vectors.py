"""Vectors as tuples of three arrays, one for each coordinate.

Kept apart, the coordinates of many points fill a processor's vector registers,
and the compiler joins whole formulas into one loop.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# For each of L rays a number, an index, and a vector or a colour.
Scalars = Float[Array, " L"]
Indices = Int[Array, " L"]
Vectors = tuple[Scalars, Scalars, Scalars]

_TINY = 1e-12


def dot(a, b):
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def add(a, b):
  return tuple(x + y for x, y in zip(a, b, strict=True))


def subtract(a, b):
  return tuple(x - y for x, y in zip(a, b, strict=True))


def scale(a, factor):
  return tuple(x * factor for x in a)


def advance(origin, direction, distance):
  """The point so far along a ray."""
  return tuple(o + distance * d for o, d in zip(origin, direction, strict=True))


def cross(a, b):
  return (
    a[1] * b[2] - a[2] * b[1],
    a[2] * b[0] - a[0] * b[2],
    a[0] * b[1] - a[1] * b[0],
  )


def unit(a):
  return scale(a, 1 / jnp.sqrt(jnp.maximum(dot(a, a), _TINY)))


def where(condition, a, b):
  return tuple(jnp.where(condition, x, y) for x, y in zip(a, b, strict=True))


def when(condition, function, *values):
  """function(*values) if the condition, a scalar, holds; else zeros.

  It spares work, and does it once: without such a border, XLA repeats it in
  each of the loops that use the results.
  """
  like = jax.eval_shape(function, *values)

  def zeros(*_):
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)

  return jax.lax.cond(condition, function, zeros, *values)
