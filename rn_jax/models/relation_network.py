"""Relation Networks: encoders, relation core and answer network, wired."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, Key

from rn_jax.clevr import MAX_OBJECTS
from rn_jax.models.answer_network import AnswerNetwork
from rn_jax.models.blocks import map_blocks
from rn_jax.models.conv_encoder import ConvEncoder
from rn_jax.models.object_finder import HALVINGS, ObjectFinder, found_scene
from rn_jax.models.question_encoder import QuestionEncoder
from rn_jax.models.region_features import RegionFeatures
from rn_jax.models.relation.head import make_head, question_layers
from rn_jax.models.scene import (
  Scene,
  boxes_of_states,
  grid_boxes,
  present_boxes,
)
from rn_jax.models.state_encoder import encode_states

OBJECTS = ("cells", "regions", "found")


class RelationNetwork(nn.Module):
  """A Relation Network over scenes and their questions.

  Attributes:
    config: The `model` part of a config file; configs/common.py explains each
      key.
    num_words: Words of the vocabulary, padding not counted.
    num_answers: Answers of the vocabulary.
    axis_name: The pmap axis over which BatchNorm sees the global batch.
  """

  config: ml_collections.FrozenConfigDict
  num_words: int
  num_answers: int
  axis_name: str | None = None

  def setup(self):
    config = self.config
    dtype = jnp.dtype(config.dtype)
    self.question_encoder = QuestionEncoder(
      num_words=self.num_words,
      embedding_size=config.embedding_size,
      lstm_units=config.lstm_units,
      bidirectional=config.bidirectional,
      reverse=config.reverse_question,
      padding=config.padding,
      dtype=dtype,
    )
    if config.inputs == "pixels":
      find = picture_objects(config) == "found"
      self.conv_encoder = ConvEncoder(
        config.conv_channels,
        dtype,
        self.axis_name,
        HALVINGS if find else None,
        config.encoder.context,
      )
      if find:
        self.object_finder = ObjectFinder(dtype)
      elif config.objects == "regions":
        self.region_features = RegionFeatures(bins=1, dtype=dtype)
    elif config.inputs != "states":
      raise ValueError(
        f"config.model.inputs is {config.inputs!r}, not 'pixels' or 'states'"
      )
    self.relation_core = make_head(config)
    self.answer_network = AnswerNetwork(
      units=config.f_units,
      dropout_rates=config.f_dropout,
      question_layer=question_layers(config)[1],
      num_answers=self.num_answers + config.spare_answers,
      dtype=dtype,
    )

  def __call__(
    self,
    batch: Mapping[str, Array],
    *,
    train: bool = False,
    keys: Key[Array, " S"] | None = None,
  ) -> tuple[Float[Array, "S K A"], dict[str, Array]]:
    """Answers K questions about each of S scenes.

    Args:
      batch: `question` [S, K, T] and `question_length` [S, K]; from pixels
        `image` [S, H, W, 3]; from states `objects` [S, N, 7],
        `object_mask` [S, N] and, where they are known, `boxes` [S, N, 4].
      train: Normalise images with this batch's statistics.
      keys: One per scene of the batch, for dropout; None: no dropout.

    Returns:
      Logits, float32, those of config.spare_answers last; and the intermediates
      by name: `objects`
      [S, N, F], `question` [S, K, Q], `relations` [S, K, D] (the sums over
      pairs; [S, 1, D] for an AVF-RN).
    """
    scene, code = self.encode(batch, train=train)
    logits, relations = self.reason(scene, code, keys=keys)
    outputs = {"question": code, "relations": relations}
    return logits, outputs | {"objects": scene.objects}

  @property
  def reasoner(self) -> tuple[str, ...]:
    """Names of the parts of the parameters that `reason` reads."""
    return "relation_core", "answer_network"

  def encode(
    self, batch: Mapping[str, Array], *, train: bool = False
  ) -> tuple[Scene, Float[Array, "S K Q"]]:
    """Returns scenes, and their questions as vectors."""
    question = batch["question"]
    s, k, t = question.shape
    code = self.question_encoder(
      question.reshape(s * k, t), batch["question_length"].reshape(s * k)
    ).reshape(s, k, -1)
    return self.encode_scenes(batch, train=train), code

  def encode_scenes(
    self, batch: Mapping[str, Array], *, train: bool = False
  ) -> Scene:
    """Returns scenes; the batch needs no questions."""
    with_boxes = self.relation_core.reads_boxes
    if self.config.inputs == "pixels":
      cells = self.conv_encoder(batch["image"], train=train)
      if self.config.objects == "found":
        scene = found_scene(self.object_finder(cells), MAX_OBJECTS)
        return scene if with_boxes else scene._replace(boxes=None)
      side = math.isqrt(cells.shape[1])
      if self.config.objects == "regions":
        cells, side = self._regions(cells, side), self.config.regions
      return Scene(
        cells, None, grid_boxes(side, side)[None] if with_boxes else None
      )
    objects = encode_states(batch["objects"], self.config.one_hot_objects)
    mask = batch["object_mask"] if self.config.mask_objects else None
    if not with_boxes:
      return Scene(objects, mask)
    if "boxes" in batch:  # zeros where nothing is seen
      boxes = present_boxes(batch["boxes"], jnp.any(batch["boxes"] != 0, -1))
    else:
      boxes = boxes_of_states(batch["objects"])
    return Scene(objects, mask, boxes)

  def _regions(
    self, cells: Float[Array, "S cells F"], side: int
  ) -> Float[Array, "S regions F"]:
    """Returns the learned features of a coarser grid."""
    boxes = grid_boxes(self.config.regions, self.config.regions) * side
    center = (boxes[:, :2] + boxes[:, 2:] - 1) / 2  # of the first cell: 0
    boxes = jnp.concatenate([center, boxes[:, 2:] - boxes[:, :2]], -1)
    cells = cells.reshape(len(cells), side, side, -1)
    boxes = jnp.broadcast_to(boxes, (len(cells), *boxes.shape))
    return self.region_features(cells, boxes)[:, :, 0].astype(cells.dtype)

  def describe(self, scene: Scene) -> dict[str, Array]:
    """Returns what is known of scenes before a question; see Pairwise."""
    return self.relation_core.describe(scene)

  def reason(
    self,
    scene: Scene,
    question: Float[Array, "S K Q"],
    *,
    keys: Key[Array, " S"] | None = None,
  ) -> tuple[Float[Array, "S K A"], Float[Array, "S K_or_1 D"]]:
    """From encoded scenes and questions to logits and relations."""
    core_keys = answer_keys = None
    if keys is not None:
      k = question.shape[1]
      core_keys = jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys)
      answer_keys = jax.vmap(
        lambda key: jax.random.split(jax.random.fold_in(key, 1), k)
      )(keys)
    relations = self.relation_core(scene, question, keys=core_keys)
    return self.answer_network(relations, question, answer_keys), relations

  def without_pairs(
    self, batch: Mapping[str, Array]
  ) -> tuple[Float[Array, "1 A"], Float[Array, "N N A"], Scene]:
    """Answers one question about one scene, with all pairs and without each.

    What a pair gives to the sum is taken out of it; the others stay as they
    are, also where the network takes the mean.

    Args:
      batch: Of one scene and one question; see __call__.

    Returns:
      The logits; those without each pair, where entry [i, j] is for the pair
      [o_i ; o_j]; and the scene.

    Raises:
      ValueError: The network relates no pairs.
    """
    head = self.relation_core
    if head.relates_pairs is False:
      raise ValueError(
        "this network relates its objects without pairs (model.head.kind="
        f"{self.config.head.kind!r}), so none can be left out"
      )
    scene, code = self.encode(batch)
    parts = head(scene, code, summed=False)[0, 0]
    parts = parts.swapaxes(0, 1)  # [N, N, D], by the first of the pair
    total = parts.sum((0, 1))
    rest = (total - parts).reshape(-1, 1, len(total))
    asked = jnp.broadcast_to(code, (len(rest), *code.shape[1:]))
    without = self.answer_network(rest, asked)[:, 0]
    logits = self.answer_network(total[None, None], code)[0]
    return logits, without.reshape(*parts.shape[:2], -1), scene


def picture_objects(model: Any) -> str:
  """Returns what a network relates from pixels, one of OBJECTS.

  Args:
    model: The `model` part of a config.

  Raises:
    ValueError: It is none of them.
  """
  if model.objects not in OBJECTS:
    raise ValueError(
      f"config.model.objects is {model.objects!r}, none of {', '.join(OBJECTS)}"
    )
  return model.objects


def answer_in_blocks(
  model: RelationNetwork, variables: Mapping, batch: Mapping[str, Array]
) -> Float[Array, "S K A"]:
  """Returns the logits of a batch, a block of scenes after another.

  They are those of `model.apply(variables, batch)`; blocks of
  config.scenes_per_block bound the memory, and on a CPU stay in its cache.
  """
  scene, code = model.apply(variables, batch, method="encode")

  def answer(scene, code):
    return (), model.apply(variables, scene, code, method="reason")[0]

  return map_blocks(answer, scene, code, model.config.scenes_per_block)[1]
