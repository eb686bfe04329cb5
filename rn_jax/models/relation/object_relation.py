"""The object relation module: objects take from all objects of their scene.

"Relation Networks for Object Detection" (Hu et al., CVPR 2018), after the
authors' code; the paper's text was not at hand. In each relation r, object n
takes from object m by the weight

  w[n, m] = softmax over m of log(max(g[n, m], 1e-6)) + <q[n], k[m]> / sqrt(d)

where q and k are projections of the objects and g is one of the embedded
geometry of their boxes. What the relations take is concatenated and added.

What to know when using it:

* "log_abs" geometry cannot tell left from right: keep coordinates among the
  features, or use "signed".
* It does not see the question: concatenate that to the features.
* Weights sum to one, so an object cannot count others; pool by "sum" to count.
* Where every g of a row is below 1e-6, appearance alone decides.
* About half the pairs start there, with no gradient for the geometry; where a
  row's largest g is little above, its gradient is large: clip the norm.
* The key's bias never has a gradient: it shifts all of a softmax alike. With
  zero_init, only the value projection has one at the first update.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from rn_jax.models.relation.geometry import embed_geometry, relative_geometry
from rn_jax.models.scene import Scene, present_boxes, present_objects

POOLINGS = ("sum", "mean")

_LEAST_GEOMETRY = 1e-6  # floor before the logarithm
_ABSENT = -1e9  # not infinite: scenes without objects stay finite


class ObjectRelation(nn.Module):
  """Adds to each object what it takes from others, in several relations.

  Modules in a stack that get the same boxes share the embedding: XLA computes
  it once. With boxes [1, N, 4] and no mask it is one for all scenes.

  Attributes:
    num_relations: How many; must divide the features.
    key_width: Numbers of a query or key of one relation.
    geometry: "log_abs", "signed", see geometry.py, or None: by appearance
      alone, as multi-head attention without an output projection.
    denominator: "query" or "key", see geometry.py.
    geometry_width: Of the embedding, a multiple of 8.
    zero_init: The value projection starts at zero, and so the module as the
      identity.
    kernel_init: Of all kernels; normal(0.01) is the authors'.
    dtype: Type of the products; geometry and softmax are in float32.
  """

  num_relations: int = 16
  key_width: int = 64
  geometry: str | None = "log_abs"
  denominator: str = "query"
  geometry_width: int = 64
  zero_init: bool = False
  kernel_init: Callable = nn.initializers.lecun_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, scene: Scene, sources: Scene | None = None
  ) -> Float[Array, "S N F"]:
    """Relates the objects of each scene.

    Sows "weights" into "intermediates": [S, relations, N, M], what object n
    takes from m; rows of absent objects and columns of absent sources are 0,
    other rows sum to 1.

    Args:
      scene: The objects that take. Their boxes may be None without geometry.
      sources: The objects that give, of any number and features; None: those
        of the scene, each itself included.

    Returns:
      Objects of the same features, before any activation; zeros for absent
      ones.

    Raises:
      ValueError: The features do not divide, or boxes are missing.
    """
    features = scene.objects.shape[-1]
    if features % self.num_relations:
      raise ValueError(
        f"{self.num_relations} relations do not divide {features} features; "
        "project the objects first or change num_relations"
      )
    sources = scene if sources is None else sources
    objects = present_objects(scene.objects, scene.mask).astype(self.dtype)
    given = present_objects(sources.objects, sources.mask).astype(self.dtype)

    queries = self._project(objects, self.key_width, "query")
    keys = self._project(given, self.key_width, "key")
    values = self._project(given, features // self.num_relations, "value")
    logits = jnp.einsum(
      "snrd,smrd->srnm", queries, keys, preferred_element_type=jnp.float32
    )
    logits /= self.key_width**0.5
    if self.geometry is not None:
      logits += self._log_geometry(scene, sources)
    weights = relation_weights(logits, scene.mask, sources.mask)
    self.sow("intermediates", "weights", weights)
    taken = jnp.einsum(
      "srnm,smrd->snrd",
      weights.astype(self.dtype),
      values,
      preferred_element_type=jnp.float32,
    )
    return (objects + taken.reshape(objects.shape)).astype(self.dtype)

  def _project(self, x, width: int, name: str):
    """[S, N, F] to [S, N, relations, width]."""
    init = self.kernel_init
    if name == "value" and self.zero_init:
      init = nn.initializers.zeros
    y = nn.Dense(
      self.num_relations * width,
      kernel_init=init,
      dtype=self.dtype,
      name=name,
    )(x)
    return y.reshape(*x.shape[:-1], self.num_relations, width)

  def _log_geometry(self, scene: Scene, sources: Scene):
    """Returns [S or 1, relations, N, M]."""
    assert self.geometry is not None
    if scene.boxes is None or sources.boxes is None:
      raise ValueError(
        f'geometry "{self.geometry}" needs the boxes of the objects; give '
        "them, or set geometry to None"
      )
    relative = relative_geometry(
      present_boxes(scene.boxes, scene.mask),
      present_boxes(sources.boxes, sources.mask),
      self.geometry,
      self.denominator,
    )
    weight = nn.Dense(
      self.num_relations,
      kernel_init=self.kernel_init,
      dtype=jnp.float32,
      name="geometry",
    )(embed_geometry(relative, self.geometry_width))
    return jnp.moveaxis(jnp.log(jnp.maximum(weight, _LEAST_GEOMETRY)), -1, 1)


def relation_weights(
  logits: Float[Array, "S R N M"],
  mask: Bool[Array, "S N"] | None,
  source_mask: Bool[Array, "S M"] | None,
) -> Float[Array, "S R N M"]:
  """Takes the softmax over the sources that there are.

  Args:
    logits: float32.
    mask: Objects that take; None: all.
    source_mask: Objects that give; None: all.

  Returns:
    Weights that sum to 1 over M, and zeros where either is absent.
  """
  if source_mask is not None:
    logits = jnp.where(source_mask[:, None, None], logits, _ABSENT)
  weights = nn.softmax(logits)
  if source_mask is not None:
    weights = jnp.where(source_mask[:, None, None], weights, 0.0)
  if mask is not None:
    weights = jnp.where(mask[:, None, :, None], weights, 0.0)
  return weights


def pool_objects(
  objects: Float[Array, "S N F"],
  mask: Bool[Array, "S N"] | None,
  pooling: str,
) -> Float[Array, "S F"]:
  """Pools the objects that there are into one vector a scene, in float32.

  Args:
    objects: From the last module.
    mask: None: all are there.
    pooling: "sum", or "mean", which cannot tell how many objects there are.

  Returns:
    Zeros for a scene without objects.

  Raises:
    ValueError: There is no such pooling.
  """
  if pooling not in POOLINGS:
    raise ValueError(f"pooling is {pooling!r}, not one of {POOLINGS}")
  total = present_objects(objects, mask).astype(jnp.float32).sum(1)
  if pooling == "sum":
    return total
  if mask is None:
    return total / objects.shape[1]
  return total / jnp.maximum(mask.sum(1, keepdims=True), 1)
