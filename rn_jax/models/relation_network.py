"""Relation Networks: encoders, relation core and answer network, wired."""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Key

from rn_jax.models.affine import Affine, add_rows, dropout
from rn_jax.models.conv_encoder import ConvEncoder
from rn_jax.models.question_encoder import QuestionEncoder
from rn_jax.models.relation_core import RelationCore
from rn_jax.models.state_encoder import encode_states


class AnswerNetwork(nn.Module):
  """f_phi: from the sum over pairs to answer logits.

  Attributes:
    units: Width of each hidden layer.
    dropout_rates: One rate per hidden layer, applied before its ReLU.
    question_layer: The hidden layer at whose input the question joins
      (AVF-RN), or None.
    num_answers: Size of the output.
    dtype: Type of the products; logits are float32.
  """

  units: Sequence[int]
  dropout_rates: Sequence[float]
  question_layer: int | None
  num_answers: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    relations: Float[Array, "S K_or_1 D"],
    question: Float[Array, "S K Q"],
    keys: Key[Array, "S K"] | None = None,
  ) -> Float[Array, "S K A"]:
    """Returns the logits; relations may be the same for all K questions."""
    x = relations.astype(self.dtype)
    for index, units in enumerate(self.units):
      if index == self.question_layer:
        x = jnp.broadcast_to(x, (*question.shape[:2], x.shape[-1]))
        x = jnp.concatenate([x, question.astype(self.dtype)], -1)
      layer = Affine(x.shape[-1], units, self.dtype, name=f"f_{index}")()
      x = add_rows(x @ layer.kernel, layer.bias)
      rate = self.dropout_rates[index]
      if keys is not None and rate > 0.0:
        x = jnp.broadcast_to(x, (*question.shape[:2], units))
        x = jax.vmap(
          jax.vmap(
            lambda row, key, i=index, rate=rate: dropout(
              row, jax.random.fold_in(key, i), rate
            )
          )
        )(x, keys)
      x = nn.relu(x)
    layer = Affine(x.shape[-1], self.num_answers, jnp.float32, name="logits")()
    return x.astype(jnp.float32) @ layer.kernel + layer.bias


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
      exact_lengths=config.exact_lengths,
      dtype=dtype,
    )
    if config.inputs == "pixels":
      self.conv_encoder = ConvEncoder(
        config.conv_channels, dtype, self.axis_name
      )
    elif config.inputs != "states":
      raise ValueError(
        f"config.model.inputs is {config.inputs!r}, not 'pixels' or 'states'"
      )
    # Layers are counted through g_theta and f_phi as one chain.
    layer, num_g = config.question_layer, len(config.g_units)
    if not 0 <= layer < num_g + len(config.f_units):
      raise ValueError(
        f"config.model.question_layer is {layer}; the network has hidden "
        f"layers 0 to {num_g + len(config.f_units) - 1}"
      )
    self.relation_core = RelationCore(
      units=config.g_units,
      dropout_rates=config.g_dropout,
      question_layer=layer if layer < num_g else None,
      aggregation=config.aggregation,
      scenes_per_block=config.scenes_per_block,
      dtype=dtype,
      scale=config.sum_scale,
    )
    self.answer_network = AnswerNetwork(
      units=config.f_units,
      dropout_rates=config.f_dropout,
      question_layer=None if layer < num_g else layer - num_g,
      num_answers=self.num_answers,
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
        `image` [S, H, W, 3]; from states `objects` [S, N, 7] and
        `object_mask` [S, N].
      train: Normalise images with this batch's statistics.
      keys: One per scene of the batch, for dropout; None: no dropout.

    Returns:
      Logits, float32, and the intermediates by name: `objects`
      [S, N, F], `question` [S, K, Q], `relations` [S, K, D] (the sums over
      pairs; [S, 1, D] for an AVF-RN).
    """
    objects, code = self.encode(batch, train=train)
    mask = object_mask(self.config, batch)
    logits, relations = self.relate(objects, mask, code, keys=keys)
    outputs = {"objects": objects, "question": code, "relations": relations}
    return logits, outputs

  def encode(
    self, batch: Mapping[str, Array], *, train: bool = False
  ) -> tuple[Float[Array, "S N F"], Float[Array, "S K Q"]]:
    """Returns objects and questions as vectors."""
    question = batch["question"]
    s, k, t = question.shape
    code = self.question_encoder(
      question.reshape(s * k, t), batch["question_length"].reshape(s * k)
    ).reshape(s, k, -1)
    return self._encode_objects(batch, train), code

  def _encode_objects(self, batch, train=False):
    if self.config.inputs == "pixels":
      return self.conv_encoder(batch["image"], train=train)
    return encode_states(batch["objects"], self.config.one_hot_objects)

  def describe(self, batch: Mapping[str, Array]) -> dict[str, Array]:
    """Returns what the network knows of scenes before it is asked.

    Args:
      batch: As for a call, without questions.

    Returns:
      `objects` [S, N, F], and of an AVF-RN `relations` [S, D].
    """
    found = {"objects": self._encode_objects(batch)}
    if self.relation_core.question_layer is None:
      mask = object_mask(self.config, batch)
      relations = self.relation_core(found["objects"], mask, None)
      found["relations"] = relations[:, 0]
    return found

  def relate(
    self,
    objects: Float[Array, "S N F"],
    mask: Bool[Array, "S N"] | None,
    question: Float[Array, "S K Q"],
    *,
    keys: Key[Array, " S"] | None = None,
    rows: int | None = None,
  ) -> tuple[Float[Array, "S K A"], Float[Array, "S K_or_1 D"]]:
    """From encoded scenes to logits and relations; see RelationCore."""
    core_keys = answer_keys = None
    if keys is not None:
      k = question.shape[1]
      core_keys = jax.vmap(lambda key: jax.random.fold_in(key, 0))(keys)
      answer_keys = jax.vmap(
        lambda key: jax.random.split(jax.random.fold_in(key, 1), k)
      )(keys)
    relations = self.relation_core(
      objects, mask, question, keys=core_keys, rows=rows
    )
    return self.answer_network(relations, question, answer_keys), relations


def object_mask(
  config: ml_collections.FrozenConfigDict, batch: Mapping[str, Array]
) -> Bool[Array, "S N"] | None:
  """Returns which rows are objects; None: all count."""
  if config.inputs == "states" and config.mask_objects:
    return batch["object_mask"]
  return None
