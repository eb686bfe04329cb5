"""The pairwise head: parameters of g_theta, and the sum over its pairs."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Key

from rn_jax.models.affine import Affine, Weights
from rn_jax.models.relation.pairs import pair_inputs, relate
from rn_jax.models.scene import Scene

# Pairs whose features a cache holds, roughly.
_PAIRS_IN_CACHE = 4096

AGGREGATIONS = ("sum", "mean", "weighted")


class Pairwise(nn.Module):
  """Relates all ordered pairs of objects, self pairs included.

  Attributes:
    units: Width of each layer of g_theta.
    dropout_rates: One rate per layer, applied before its ReLU.
    question_layer: The layer at whose input the question joins: 0 is the RN,
      2 the two-stage RN. None: g_theta sees no question (AVF-RN).
    aggregation: "sum" (RN), "mean", or "weighted" (AVF-RN: one learned scalar
      per pair position, for all channels alike).
    one_by_one: Answer the questions of a scene one after another where their
      pairs would fill a cache together.
    dtype: Type of the products; sums over pairs are in float32.
  """

  units: Sequence[int]
  dropout_rates: Sequence[float]
  question_layer: int | None
  aggregation: str
  one_by_one: bool
  dtype: DTypeLike

  reads_boxes: ClassVar[bool] = False
  relates_pairs: ClassVar[Literal[True]] = True

  @property
  def question_free(self) -> tuple[str, ...]:
    """Names of the parameters that read no word, in the order of their use."""
    if self.question_layer is not None:
      return tuple(f"g_{index}" for index in range(self.question_layer))
    names = tuple(f"g_{index}" for index in range(len(self.units)))
    return names + ("position_weights",) * (self.aggregation == "weighted")

  @property
  def described(self) -> tuple[str, ...]:
    """Names of what `describe` gives."""
    last = self.question_layer
    if last is None:
      last = len(self.units)
    names = tuple(f"g{layer}" for layer in range(last + 1))
    return names + ("aggregate",) * (self.question_layer is None)

  def activations(self, num_objects: int) -> int:
    """Returns how many numbers are at work at once for a scene's question."""
    return num_objects**2 * max(self.units)

  @nn.compact
  def __call__(
    self,
    scene: Scene,
    question: Float[Array, "S K Q"] | None,
    *,
    keys: Key[Array, " S"] | None = None,
    summed: bool = True,
  ) -> Float[Array, "S K_or_1 D"] | Float[Array, "S K_or_1 N N D"]:
    """Relates objects.

    Args:
      scene: Pairs with an absent object count nothing.
      question: K questions about each scene; None will do where question_layer
        is None.
      keys: For dropout; None: no dropout.
      summed: See relate; entry [p, q] is that of the pair [o_q ; o_p].

    Returns:
      float32, for each question; [S, 1, D] when question_layer is None, which
      is the AVF-RN's descriptor.
    """
    if self.aggregation not in AGGREGATIONS:
      raise ValueError(
        f"aggregation is {self.aggregation!r}, not one of {AGGREGATIONS}"
      )
    num_objects, features = scene.objects.shape[1:]
    layers, inputs = [], 2 * features
    for index, units in enumerate(self.units):
      if index == self.question_layer:
        assert question is not None
        inputs += question.shape[-1]
      layers.append(Affine(inputs, units, self.dtype, name=f"g_{index}")())
      inputs = units
    many_pairs = 2 * num_objects**2 > _PAIRS_IN_CACHE
    return relate(
      layers,
      scene.objects.astype(self.dtype),
      question,
      self._pair_weights(scene.mask, num_objects),
      question_layer=self.question_layer,
      dropout_rates=self.dropout_rates,
      keys=keys if any(self.dropout_rates) else None,
      one_by_one=self.one_by_one and many_pairs and summed,
      summed=summed,
    )

  def describe(self, scene: Scene) -> dict[str, Float[Array, "S ..."]]:
    """Returns what is known of scenes before a question is asked.

    Returns:
      float32 by name: of "g0", "g1", ... the input of g_theta's layer of that
      number for each pair, [S, N, N, _], where entry [p, q] belongs to the pair
      [o_q ; o_p]; "aggregate" of an AVF-RN, its sum over pairs, [S, D].
    """
    objects = scene.objects.astype(jnp.float32)
    params = self.variables["params"]
    free = self.question_layer
    if free is None:
      free = len(self.units)
    layers = [Weights(**params[f"g_{index}"]) for index in range(free)]
    found = pair_inputs(layers, objects)
    described = {f"g{layer}": pairs for layer, pairs in enumerate(found)}
    if self.question_layer is None:
      described["aggregate"] = self(scene, None)[:, 0]
    return described

  def _pair_weights(
    self, mask: Bool[Array, "S N"] | None, num_objects: int
  ) -> Float[Array, "N N"] | Float[Array, "S N N"] | None:
    """Returns the weight of each pair, of all scenes or of each; None: ones."""
    weights = None
    if self.aggregation == "weighted":
      side = num_objects
      if self.has_variable("params", "position_weights"):
        # A block of scenes may come with their first objects only.
        known = self.get_variable("params", "position_weights").size
        side = max(side, math.isqrt(known))
      weights = self.param(
        "position_weights",
        lambda key, shape: jax.random.uniform(key, shape, minval=-1.0),
        (side * side,),
      ).reshape(side, side)[:num_objects, :num_objects]
    if mask is not None:
      both = (mask[:, :, None] & mask[:, None]).astype(jnp.float32)
      weights = both if weights is None else weights * both
    if self.aggregation == "mean":
      if mask is None:
        count = float(num_objects**2)
        return jnp.full((num_objects, num_objects), 1.0 / count)
      assert weights is not None
      return weights / jnp.maximum(weights.sum((1, 2), keepdims=True), 1.0)
    return weights
