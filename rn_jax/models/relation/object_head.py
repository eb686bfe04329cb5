"""Heads of object relations: alone, or as the context of pairs.

"Relation Networks for Object Detection" (Hu et al., CVPR 2018) relates objects
among each other; asked a question, and summed over the objects of a scene, its
modules are a head as the pairs of a Relation Network are. Unlike the authors',
ours has a ReLU before each module, too, and so the module adds to what that
left, where theirs adds to the dense layer's output.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from rn_jax.models.relation.object_relation import ObjectRelation, pool_objects
from rn_jax.models.relation.pairwise import Pairwise
from rn_jax.models.scene import Scene


class ObjectHead(nn.Module):
  """Layers of object relations, each behind a dense layer, then their sum.

  Attributes:
    layers: The modules, one after another.
    width: Features of their objects.
    question_layer: The layer at whose input the question joins the objects;
      None: none reads it.
    pooling: "sum" or "mean" over the objects.
    dtype: Type of the products; the sum over objects is in float32.
  """

  layers: Sequence[ObjectRelation]
  width: int
  question_layer: int | None
  pooling: str
  dtype: DTypeLike

  reads_boxes: ClassVar[bool] = True
  relates_pairs: ClassVar[Literal[False]] = False

  def setup(self):
    self.dense = [nn.Dense(self.width, dtype=self.dtype) for _ in self.layers]
    self.relation = list(self.layers)

  @property
  def question_free(self) -> tuple[str, ...]:
    """Names of the parameters that read no word, in the order of their use."""
    return tuple(
      f"{name}_{index}"
      for index in range(self._free)
      for name in ("dense", "layers")
    )

  @property
  def described(self) -> tuple[str, ...]:
    """Names of what `describe` gives."""
    names = tuple(f"o{layer}" for layer in range(self._free + 1))
    return names + ("aggregate",) * (self.question_layer is None)

  @property
  def _free(self) -> int:
    """How many layers come before the question."""
    if self.question_layer is None:
      return len(self.layers)
    return self.question_layer

  def activations(self, num_objects: int) -> int:
    """Returns how many numbers are at work at once for a scene's question."""
    if not self.layers:
      return num_objects * self.width
    layer = self.layers[0]
    each = 2 * self.width + 2 * layer.num_relations * layer.key_width
    return num_objects * each + 2 * layer.num_relations * num_objects**2

  def __call__(
    self,
    scene: Scene,
    question: Float[Array, "S K Q"] | None,
    *,
    keys: Key[Array, " S"] | None = None,
  ) -> Float[Array, "S K_or_1 D"]:
    """Relates objects.

    Args:
      scene: Boxes are needed where the layers have a geometry.
      question: K questions about each scene; None will do where question_layer
        is None.
      keys: Not used, for there is no dropout here.

    Returns:
      float32, for each question; [S, 1, D] when question_layer is None.
    """
    del keys
    *_, x = self._through(scene, 0, self._free)
    number = 1
    if self.question_layer is not None:
      assert question is not None
      number, objects = question.shape[1], x.shape[1]

      mask, boxes = scene.mask, scene.boxes
      if mask is not None:
        mask = jnp.repeat(mask, number, 0)
      if boxes is not None and len(boxes) > 1:
        boxes = jnp.repeat(boxes, number, 0)
      asked = question.reshape(-1, 1, question.shape[-1]).astype(x.dtype)
      asked = jnp.broadcast_to(asked, (len(asked), objects, asked.shape[-1]))
      x = jnp.concatenate([jnp.repeat(x, number, 0), asked], -1)
      scene = Scene(x, mask, boxes)
      *_, x = self._through(scene, self._free, len(self.layers))
    pooled = pool_objects(x, scene.mask, self.pooling)
    return pooled.reshape(-1, number, pooled.shape[-1])

  def describe(self, scene: Scene) -> dict[str, Float[Array, "S ..."]]:
    """Returns what is known of scenes before a question is asked.

    Returns:
      float32 by name: of "o0", "o1", ... the input of the layer of that number
      for each object, [S, N, _]; "aggregate" where no layer reads a question,
      the sum over objects, [S, D].
    """
    found = self._through(scene, 0, self._free)
    described = {
      f"o{layer}": x.astype(jnp.float32) for layer, x in enumerate(found)
    }
    if self.question_layer is None:
      described["aggregate"] = self(scene, None)[:, 0]
    return described

  def _through(self, scene: Scene, first: int, last: int) -> list[Array]:
    """Returns the objects before each of some layers, and behind the last."""
    found = [scene.objects.astype(self.dtype)]
    for dense, relation in zip(
      self.dense[first:last], self.relation[first:last], strict=True
    ):
      x = nn.relu(dense(found[-1]))
      found.append(nn.relu(relation(scene._replace(objects=x))))
    return found


class ContextHead(nn.Module):
  """Object relations among the objects, before their pairs are looked at.

  The relations read no question: what they make of the objects is part of what
  is known of a scene. Where their values start at zero, the head starts as the
  pairs alone, of projected objects.

  Attributes:
    layers: The modules, one after another.
    width: Features of their objects.
    pairs: The pairwise head behind them.
    dtype: Type of the products.
  """

  layers: Sequence[ObjectRelation]
  width: int
  pairs: Pairwise
  dtype: DTypeLike

  reads_boxes: ClassVar[bool] = True
  relates_pairs: ClassVar[Literal[True]] = True

  def setup(self):
    self.dense = nn.Dense(self.width, dtype=self.dtype)
    self.relation = list(self.layers)

  @property
  def question_free(self) -> tuple[str, ...]:
    """Names of the parameters that read no word, in the order of their use."""
    layers = (f"layers_{index}" for index in range(len(self.layers)))
    pairs = (f"pairs/{name}" for name in self.pairs.question_free)
    return ("dense", *layers, *pairs)

  @property
  def described(self) -> tuple[str, ...]:
    """Names of what `describe` gives: what the pairs give."""
    return self.pairs.described

  def activations(self, num_objects: int) -> int:
    """Returns how many numbers are at work at once for a scene's question."""
    return self.pairs.activations(num_objects)

  def __call__(
    self,
    scene: Scene,
    question: Float[Array, "S K Q"] | None,
    *,
    keys: Key[Array, " S"] | None = None,
    summed: bool = True,
  ) -> Float[Array, "S K_or_1 D"] | Float[Array, "S K_or_1 N N D"]:
    """Relates objects, then their pairs; see Pairwise."""
    return self.pairs(
      self._in_context(scene), question, keys=keys, summed=summed
    )

  def describe(self, scene: Scene) -> dict[str, Float[Array, "S ..."]]:
    """Returns what is known of scenes before a question; see Pairwise."""
    return self.pairs.describe(self._in_context(scene))

  def _in_context(self, scene: Scene) -> Scene:
    x = nn.relu(self.dense(scene.objects.astype(self.dtype)))
    for relation in self.relation:
      x = nn.relu(relation(scene._replace(objects=x)))
    return scene._replace(objects=x)
