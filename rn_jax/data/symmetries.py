"""Exchanges that leave answers right: other scenes out of those that there are.

CLEVR's colors are drawn alike and its questions treat them alike, so a scene in
which all red things are blue and all blue ones red has the same questions, with
these words exchanged; and so has its mirror image, with "left" and "right"
exchanged. Materials, shapes and sizes are left alone: they have synonyms, each
a different number of them, or decide what hides what.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from rn_jax.clevr import ATTRIBUTES, COLORS, RIGHT, is_mark

SYMMETRIES = ("colors", "mirror")

_COLOR_COLUMN = 3 + list(ATTRIBUTES).index("color")


def make_symmetries(
  names: Sequence[str], vocabulary: Mapping[str, Mapping]
) -> Callable[[dict, jax.Array], dict]:
  """Makes the exchange of a batch, on the device.

  Args:
    names: "colors", all of them exchanged at random, state descriptions only;
      "mirror", every other scene mirrored.
    vocabulary: That of the batch's questions and answers. A color that is no
      word there, or no answer where others are, keeps its place.

  Returns:
    exchange(batch, keys) -> batch: `batch` as input_pipeline.gather makes it,
    `keys` [S], one a scene; its questions are exchanged with it.

  Raises:
    ValueError: There is no such exchange, or not two words to exchange.
  """
  if unknown := sorted(set(names) - set(SYMMETRIES)):
    raise ValueError(
      f"config.data.symmetries names {', '.join(unknown)}, none of "
      f"{', '.join(SYMMETRIES)}"
    )
  moves = []
  if "colors" in names:
    moves.append(_make_colors(vocabulary))
  if "mirror" in names:
    moves.append(_make_mirror(vocabulary))

  def exchange(batch: dict, keys: jax.Array) -> dict:
    for move in moves:
      keys, used = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
      batch = jax.vmap(move)(batch, used)
    return batch

  return exchange


def _make_colors(vocabulary: Mapping[str, Mapping]) -> Callable:
  answers = vocabulary["answers"]
  asked = [color for color in COLORS if color in answers]
  names = [c for c in asked or COLORS if c in vocabulary["questions"]]
  words = _columns(vocabulary["questions"], names)
  colors = np.array([[COLORS.index(name) for name in names]])
  number = np.array([[answers.get(name, 0) - 1 for name in names]])

  def move(batch: dict, key: jax.Array) -> dict:
    order = jax.random.permutation(key, len(names))
    objects = batch["objects"]
    column = objects[:, _COLOR_COLUMN].astype(jnp.int32) - 1
    column = _renamed(column, colors, order) + 1
    moved = {
      "objects": objects.at[:, _COLOR_COLUMN].set(column),
      "question": _renamed(batch["question"], words, order),
    }
    if asked:
      moved["answer"] = _renamed(batch["answer"], number, order)
    return batch | moved

  return move


def mirror_scene(batch: dict) -> dict:
  """Returns the mirror image of what a batch holds of one scene.

  Args:
    batch: Of `image` [H, W, 3], `objects` [N, 7] and `boxes` [N, 4] what there
      is; other things stay as they are.
  """
  mirrored = dict(batch)
  if "image" in batch:
    mirrored["image"] = batch["image"][:, ::-1]
  if "objects" in batch:
    right = np.array(RIGHT, np.float32)
    across = (batch["objects"][:, :3] @ right)[:, None] * right
    mirrored["objects"] = batch["objects"].at[:, :3].add(-2 * across)
  if "boxes" in batch:
    left, upper, right, lower = jnp.moveaxis(batch["boxes"], -1, 0)
    boxes = jnp.stack([1 - right, upper, 1 - left, lower], -1)
    there = batch["boxes"].any(-1, keepdims=True)
    mirrored["boxes"] = jnp.where(there, boxes, 0.0)
  return mirrored


def _make_mirror(vocabulary: Mapping[str, Mapping]) -> Callable:
  words = _columns(vocabulary["questions"], ["left", "right"])

  def mirrored(batch: dict) -> dict:
    question = _renamed(batch["question"], words, np.array([1, 0]))
    return mirror_scene(batch) | {"question": question}

  return functools.partial(half_of_them, mirrored)


def half_of_them(
  change: Callable[[dict], dict], batch: dict, key: jax.Array
) -> dict:
  """Returns what a batch holds of one scene, changed or, as often, as it is."""
  choose = functools.partial(jnp.where, jax.random.bernoulli(key))
  return jax.tree.map(choose, change(batch), batch)


def _columns(words: Mapping[str, int], names: Sequence[str]) -> np.ndarray:
  """Returns the numbers of words, [endings, names]: with marks, and without.

  Raises:
    ValueError: They are not at least two, or one lacks an ending ("red?").
  """
  endings = {
    word.removeprefix(name)
    for name in names
    for word in words
    if word.startswith(name) and all(map(is_mark, word.removeprefix(name)))
  }
  rows = [[name + end for name in names] for end in sorted(endings)]
  if (
    len(names) < 2
    or not rows
    or not words.keys() >= {w for row in rows for w in row}
  ):
    raise ValueError(
      "config.data.symmetries cannot exchange words that the vocabulary has "
      f"not: of {', '.join(names) or 'the colors'}, all must be there; set it "
      "to ()"
    )
  return np.array([[words[word] for word in row] for row in rows])


def _renamed(x: jax.Array, rows: np.ndarray, order: ArrayLike) -> jax.Array:
  """Replaces numbers in `rows` [R, C] by those at `order` [C] of their row."""
  table = jnp.arange(rows.max() + 1).at[rows].set(jnp.asarray(rows)[:, order])
  return jnp.where((x >= 0) & (x < len(table)), table[x], x)
