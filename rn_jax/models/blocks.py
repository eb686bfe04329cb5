"""Scenes in blocks: what a CPU's cache holds, and no more rows than objects.

Scenes are independent of each other once they are encoded. A block's pairs
can therefore go all the way from objects to loss, and back to the gradient,
before the next block begins: memory is that of one block, and nothing is
computed twice.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def map_blocks(
  function: Callable[[Any, int], tuple[Any, Any]],
  scenes: Any,
  mask: Bool[Array, "S N"] | None,
  num_objects: int,
  block: int,
) -> tuple[Any, Any]:
  """Applies a function to blocks of scenes, one after another.

  With a mask, scenes are taken in the order of their sizes, and each block is
  told how many rows of objects it needs to look at: one of four numbers, for
  each of which the function is compiled.

  Args:
    function: (scenes [block, ...], rows) -> (a tree that is summed over
      blocks, a tree of arrays [block, ...]).
    scenes: Tree of arrays [S, ...].
    mask: False for rows that are no objects; None: all are.
    num_objects: N.
    block: Scenes of a block.

  Returns:
    The sum, and the other tree as arrays [S, ...], in the scenes' order.
  """
  size = len(jax.tree.leaves(scenes)[0])
  block = min(block, size)
  if mask is None:
    return _in_order(
      lambda x: function(x["scenes"], num_objects), {"scenes": scenes}, block
    )
  # For CLEVR's 3 to 10 objects: 4, 6, 8 and 10.
  step = -(-num_objects // 5)
  sizes = [num_objects - step * k for k in (3, 2, 1, 0)]
  sizes = [rows for rows in sizes if rows > 0]
  last = jnp.where(mask, jnp.arange(1, num_objects + 1), 0).max(-1)  # [S]
  order = jnp.argsort(last)

  def choose(x):
    branches = [
      lambda scenes, rows=rows: function(scenes, rows) for rows in sizes
    ]
    needed = jnp.searchsorted(jnp.array(sizes), x["last"].max())
    return jax.lax.switch(needed, branches, x["scenes"])

  ordered = jax.tree.map(
    lambda x: jnp.asarray(x)[order], {"scenes": scenes, "last": last}
  )
  total, rows = _in_order(choose, ordered, block)
  back = jnp.argsort(order)
  return total, jax.tree.map(lambda x: x[back], rows)


def _in_order(function: Callable, scenes: Any, block: int) -> tuple[Any, Any]:
  """Scans over whole blocks, and takes what is left over as one more."""
  size = len(jax.tree.leaves(scenes)[0])
  whole = size // block * block

  def step(total, x):
    summed, rows = function(x)
    return jax.tree.map(jnp.add, total, summed), rows

  blocks = jax.tree.map(
    lambda x: x[:whole].reshape(-1, block, *x.shape[1:]), scenes
  )
  first = jax.tree.map(lambda x: x[0], blocks)
  total = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, first)[0]
  )
  total, rows = jax.lax.scan(step, total, blocks)
  rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
  if whole == size:
    return total, rows
  total, left = step(total, jax.tree.map(lambda x: x[whole:], scenes))
  return total, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), rows, left)


def sum_over_blocks(
  loss: Callable[..., tuple[Float[Array, ""], Any]],
  params: Any,
  inputs: Any,
  rest: Any,
  mask: Bool[Array, "S N"] | None,
  num_objects: int,
  block: int | None,
) -> tuple[Float[Array, ""], Any]:
  """Sums a loss over scenes, with its gradient ready when the sum is.

  Each block's gradient is computed right after its loss, while what it needs
  is at hand, and waits for the backward pass, which merely scales it.

  Args:
    loss: (params, inputs, rest, rows) -> (scalar, tree of arrays [S, ...]),
      of a block of scenes of which the first `rows` objects count.
    params: What all scenes share; differentiable.
    inputs: Tree of arrays [S, ...]; differentiable.
    rest: Tree of arrays [S, ...]; not differentiable.
    mask: See map_blocks.
    num_objects: N.
    block: Scenes of a block; None: all at once.

  Returns:
    The sum of the losses, and the tree, of which there is no gradient.
  """
  if not block:
    return loss(params, inputs, rest, num_objects)

  def run(function, inputs, rest):
    return map_blocks(
      lambda scenes, rows: function(*scenes, rows),
      (inputs, rest),
      mask,
      num_objects,
      block,
    )

  @jax.custom_vjp
  def total(params, inputs, rest):
    return run(lambda *scenes: loss(params, *scenes), inputs, rest)

  def forward(params, inputs, rest):
    def differentiate(inputs, rest, rows):
      (value, outputs), (d_params, d_inputs) = jax.value_and_grad(
        lambda p, x: loss(p, x, rest, rows), (0, 1), has_aux=True
      )(params, inputs)
      return (value, d_params), (outputs, d_inputs)

    (value, d_params), (outputs, d_inputs) = run(differentiate, inputs, rest)
    return (value, outputs), (d_params, d_inputs)

  def backward(gradients, cotangents):
    scaled = jax.tree.map(
      lambda x: (x * cotangents[0]).astype(x.dtype), gradients
    )
    return (*scaled, None)

  total.defvjp(forward, backward)
  return total(params, inputs, rest)
