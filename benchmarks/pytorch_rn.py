"""A Relation Network in plain PyTorch, the way it is usually written.

Objects and question are repeated for every pair and concatenated; linear
layers run over all pairs, whose features are summed. The other side of
benchmarks/against_pytorch.py; nothing else uses it.
"""

import re
from collections.abc import Mapping

import ml_collections
import numpy as np

from rn_jax.clevr import ATTRIBUTES
from rn_jax.interop.reference_names import to_tensors

try:
  import torch
except ImportError as error:
  raise SystemExit(
    "error: this compares with PyTorch, which is not installed: "
    "pip install -e '.[pytorch]'"
  ) from error
from torch import nn
from torch.nn import functional as F


class RelationNetwork(nn.Module):
  """RN or, with question_layer 2, 2S-RN; from pixels or from states."""

  def __init__(
    self, config: ml_collections.ConfigDict, num_words: int, num_answers: int
  ):
    """Builds the network of the `model` part of a config (not AVF-RN)."""
    super().__init__()
    layers, channels = [], 3
    if config.inputs == "pixels":
      for units in config.conv_channels:
        layers += [
          nn.Conv2d(channels, units, 3, stride=2, padding=1),
          nn.BatchNorm2d(units),
          nn.ReLU(),
        ]
        channels = units
    self.conv = nn.Sequential(*layers)
    features = channels + 2 if layers else 18
    self.embedding = nn.Embedding(num_words + 1, config.embedding_size)
    self.lstm = nn.LSTM(
      config.embedding_size, config.lstm_units, batch_first=True
    )
    self.question_layer = config.question_layer
    self.g, inputs = nn.ModuleList(), 2 * features
    for index, units in enumerate(config.g_units):
      joined = config.lstm_units if index == self.question_layer else 0
      self.g.append(nn.Linear(inputs + joined, units))
      inputs = units
    self.f = nn.ModuleList()
    for units in (*config.f_units, num_answers):
      self.f.append(nn.Linear(inputs, units))
      inputs = units
    self.dropout_rates = config.f_dropout

  def forward(self, scene, mask, question, length):
    """Answers one question about each scene.

    Args:
      scene: [B, 3, H, W] in [0, 1] from pixels, [B, N, F] from states.
      mask: [B, N], 0 for rows that are no objects; None: all are.
      question: [B, T] words in the order of reading, padding behind.
      length: [B] on the CPU.

    Returns:
      Logits [B, answers].
    """
    objects = self.cells(scene) if len(self.conv) else scene
    packed = nn.utils.rnn.pack_padded_sequence(
      self.embedding(question), length, batch_first=True, enforce_sorted=False
    )
    _, (hidden, _) = self.lstm(packed)
    code = hidden[-1]  # [B, Q]

    n = objects.shape[1]
    left = objects.unsqueeze(1).repeat(1, n, 1, 1)
    right = objects.unsqueeze(2).repeat(1, 1, n, 1)
    code = code[:, None, None].repeat(1, n, n, 1)
    parts = [left, right]
    if self.question_layer == 0:
      parts.append(code)
    x = torch.cat(parts, -1)  # [B, N, N, 2 F + Q]
    for index, layer in enumerate(self.g):
      if 0 < index == self.question_layer:
        x = torch.cat([x, code], -1)
      x = F.relu(layer(x))
    if mask is not None:
      x = x * (mask[:, :, None] * mask[:, None])[..., None]
    x = x.sum((1, 2))

    for layer, rate in zip(self.f, self.dropout_rates, strict=False):
      x = F.relu(F.dropout(layer(x), rate, self.training))
    return self.f[-1](x)

  def cells(self, image):
    """Returns the grid's cells with their x and y, [B, h * w, C + 2]."""
    x = self.conv(image)
    b, _, h, w = x.shape
    ys = torch.linspace(-4, 4, h)[:, None].expand(b, 1, h, w)
    xs = torch.linspace(-4, 4, w)[None].expand(b, 1, h, w)
    return torch.cat([x, xs, ys], 1).flatten(2).transpose(1, 2)


_NAMES = {
  r"conv\.conv(\d)": lambda m: f"conv.{3 * int(m[1]) - 3}",
  r"conv\.batchNorm(\d)": lambda m: f"conv.{3 * int(m[1]) - 2}",
  r"text\.wembedding": "embedding",
  r"text\.lstm": "lstm",
  r"rl\.g_layers": "g",
  r"rl\.f_fc(\d)": lambda m: f"f.{int(m[1]) - 1}",
}


def tensors(
  variables: Mapping, config: ml_collections.ConfigDict
) -> dict[str, np.ndarray]:
  """Returns our variables, or gradients like them, under this module's names.

  Args:
    variables: {"params", "batch_stats"}.
    config: The `model` part of the config.
  """
  found = {}
  for name, array in to_tensors(variables, config).items():
    for pattern, replacement in _NAMES.items():
      name = re.sub(f"^{pattern}", replacement, name)
    found[name] = array
  return found


def load(
  network: RelationNetwork,
  variables: Mapping,
  config: ml_collections.ConfigDict,
) -> None:
  """Copies our variables into the network."""
  state = {
    name: torch.tensor(array)
    for name, array in tensors(variables, config).items()
  }
  missing, unexpected = network.load_state_dict(state, strict=False)
  missing = [name for name in missing if "num_batches_tracked" not in name]
  if missing or unexpected:
    raise ValueError(f"tensors missing: {missing}; unexpected: {unexpected}")


def arguments(batch: Mapping, config: ml_collections.ConfigDict) -> tuple:
  """Turns a batch of one question a scene into the network's arguments.

  What a PyTorch input pipeline hands over: floats in NCHW order, one-hot
  objects, questions in the order of reading, trimmed to the longest.
  """
  length = torch.tensor(batch["question_length"]).flatten().long()
  question = batch["question"].reshape(len(length), -1)
  question = question[:, : int(length.max())].copy()
  if config.reverse_question:
    for row, words in zip(question, length.tolist(), strict=True):
      row[:words] = row[:words][::-1].copy()
  question = torch.tensor(question).long()
  if config.inputs == "pixels":
    image = torch.tensor(batch["image"]).permute(0, 3, 1, 2)
    return image.contiguous() / 255, None, question, length
  objects = torch.tensor(batch["objects"])
  columns = [objects[..., :3]]
  for column, values in enumerate(ATTRIBUTES.values(), start=3):
    index = objects[..., column].long()
    columns.append(F.one_hot(index, len(values) + 1)[..., 1:].float())
  mask = torch.tensor(batch["object_mask"]).float()
  return torch.cat(columns, -1), mask, question, length
