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
from jaxtyping import Array, Float

from rn_jax.models.scene import Scene

# Numbers that stay in a CPU's cache, roughly.
_CACHE = 2**20


def scenes_in_cache(activations: int) -> int:
  """Returns how many scenes a CPU's cache holds, a power of two.

  Args:
    activations: Numbers that are at work at once for each; see head.py.
  """
  return 2 ** max((_CACHE // activations).bit_length() - 1, 0)


def map_blocks(
  function: Callable[[Scene, Any], tuple[Any, Any]],
  scene: Scene,
  rest: Any,
  block: int | None,
) -> tuple[Any, Any]:
  """Applies a function to blocks of scenes, one after another.

  With a mask, scenes are taken in the order of their sizes, and each block
  comes with as many rows of objects as it needs: one of four numbers, for each
  of which the function is compiled.

  Args:
    function: (scenes, rest of them) -> (a tree that is summed over blocks, a
      tree of arrays [block, ...]).
    scene: All scenes.
    rest: Tree of arrays [S, ...] that belong to them.
    block: Scenes of a block; None: all at once, with all rows.

  Returns:
    The sum, and the other tree as arrays [S, ...], in the scenes' order.
  """
  if not block:
    return function(scene, rest)
  size, num_objects = scene.objects.shape[:2]
  block = min(block, size)
  if scene.boxes is not None and len(scene.boxes) < size:  # all scenes' alike
    function = _with_boxes(function, scene.boxes)
    scene = scene._replace(boxes=None)
  if scene.mask is None:
    return _in_order(lambda x: function(*x), (scene, rest), block)
  # For CLEVR's 3 to 10 objects: 4, 6, 8 and 10.
  step = -(-num_objects // 5)
  sizes = [num_objects - step * k for k in (3, 2, 1, 0)]
  sizes = [rows for rows in sizes if rows > 0]
  last = jnp.where(scene.mask, jnp.arange(1, num_objects + 1), 0).max(-1)
  order = jnp.argsort(last)

  def choose(x):
    scene, rest, last = x
    branches = [
      lambda scene, rest, rows=rows: function(first_objects(scene, rows), rest)
      for rows in sizes
    ]
    needed = jnp.searchsorted(jnp.array(sizes), last.max())
    return jax.lax.switch(needed, branches, scene, rest)

  ordered = jax.tree.map(lambda x: jnp.asarray(x)[order], (scene, rest, last))
  total, rows = _in_order(choose, ordered, block)
  back = jnp.argsort(order)
  return total, jax.tree.map(lambda x: x[back], rows)


def _with_boxes(function: Callable, boxes: Float[Array, "1 N 4"]) -> Callable:
  """Gives a function the boxes that all scenes have."""

  def call(scene, rest):
    rows = scene.objects.shape[1]
    return function(scene._replace(boxes=boxes[:, :rows]), rest)

  return call


def first_objects(scene: Scene, rows: int) -> Scene:
  """Returns the scenes with their first objects only."""
  mask, boxes = (x if x is None else x[:, :rows] for x in scene[1:])
  return Scene(scene.objects[:, :rows], mask, boxes)


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
  scene: Scene,
  inputs: Any,
  rest: Any,
  block: int | None,
) -> tuple[Float[Array, ""], Any]:
  """Sums a loss over scenes, with its gradient ready when the sum is.

  Each block's gradient is computed right after its loss, while what it needs
  is at hand, and waits for the backward pass, which merely scales it.

  Args:
    loss: (params, scene, inputs, rest) -> (scalar, tree of arrays [S, ...]), of
      a block of scenes.
    params: What all scenes share; differentiable.
    scene: All scenes; differentiable in their objects.
    inputs: Tree of arrays [S, ...]; differentiable.
    rest: Tree of arrays [S, ...]; not differentiable.
    block: Scenes of a block; None: all at once.

  Returns:
    The sum of the losses, and the tree, of which there is no gradient.
  """
  if not block:
    return loss(params, scene, inputs, rest)
  num_objects = scene.objects.shape[1]

  @jax.custom_vjp
  def total(params, objects, inputs, others):
    where, rest = others
    return map_blocks(
      lambda scene, x: loss(params, scene, *x),
      scene_of(objects, where),
      (inputs, rest),
      block,
    )

  def scene_of(objects, where):
    return Scene(objects, *where)

  def forward(params, objects, inputs, others):
    where, rest = others

    def differentiate(scene, x):
      inputs, rest = x

      def of_block(params, objects, inputs):
        return loss(params, scene._replace(objects=objects), inputs, rest)

      (value, outputs), (d_params, d_objects, d_inputs) = jax.value_and_grad(
        of_block, (0, 1, 2), has_aux=True
      )(params, scene.objects, inputs)
      missing = num_objects - d_objects.shape[1]
      d_objects = jnp.pad(d_objects, ((0, 0), (0, missing), (0, 0)))
      return (value, d_params), (outputs, d_objects, d_inputs)

    (value, d_params), (outputs, *d_each) = map_blocks(
      differentiate, scene_of(objects, where), (inputs, rest), block
    )
    return (value, outputs), (d_params, *d_each)

  def backward(gradients, cotangents):
    scaled = jax.tree.map(
      lambda x: (x * cotangents[0]).astype(x.dtype), gradients
    )
    return (*scaled, None)

  total.defvjp(forward, backward)
  return total(params, scene.objects, inputs, (scene[1:], rest))
