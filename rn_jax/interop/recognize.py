"""Tells from the tensors alone which network of the reference a file holds."""

from collections.abc import Mapping

import ml_collections
import numpy as np

from rn_jax.default_config import get_config, use_reference_semantics

# The reference's rows of a state description: x, y, z and four attributes.
_STATE_FEATURES = 7
_NAMES = {0: "original", 2: "ir"}
_SUFFIXES = {"pixels": "fp", "states": "sd"}


def recognize(
  tensors: Mapping[str, np.ndarray],
) -> tuple[str, ml_collections.ConfigDict]:
  """Recognises a network.

  Widths are read off the bias vectors. From the numbers of inputs of the g
  layers follow the kind of objects (26 numbers from pixels, 7 from states) and
  the layer at which the question joins.

  Args:
    tensors: {the reference's name: array}, as from strip_prefix.

  Returns:
    The reference's name for it ("original-fp", "ir-sd", ...), and its config,
    with the reference's semantics. The tensors may still not fit it.

  Raises:
    ValueError: It is none of the reference's networks.
  """
  if any(name.endswith("_reverse") for name in tensors):
    raise ValueError(
      "the LSTM is bidirectional, as in the reference's AVF-RN. Weights of "
      "that network were never published, and neither its tensor names nor "
      "the layer of its aggregation can be told from a file; train one with "
      "configs/avf_fp.py"
    )
  g_units = _widths(tensors, "rl.g_layers.{}.bias", first=0)
  f_units = _widths(tensors, "rl.f_fc{}.bias", first=1)[:-1]
  lstm_units = len(_need(tensors, "text.lstm.bias_hh_l0")) // 4
  embedding = _need(tensors, "text.wembedding.weight")
  features = {"states": _STATE_FEATURES}
  channels = ()
  if "conv.conv1.bias" in tensors:
    channels = _widths(tensors, "conv.conv{}.bias", first=1)
    features["pixels"] = channels[-1] + 2

  # The nearest of all possible networks; what still differs is then reported
  # tensor by tensor when the weights are fitted to it.
  found = [
    _need(tensors, f"rl.g_layers.{i}.weight").shape[-1]
    for i in range(len(g_units))
  ]
  candidates = {}
  for inputs, width in features.items():
    for layer in range(len(g_units)):
      expected = [2 * width, *g_units[:-1]]
      expected[layer] += lstm_units
      misses = sum(a != b for a, b in zip(found, expected, strict=True))
      # In doubt from pixels, at the first layer.
      candidates[misses, inputs != "pixels", layer] = inputs
  _, _, layer = best = min(candidates)
  inputs = candidates[best]

  name = f"{_NAMES.get(layer, 'original')}-{_SUFFIXES[inputs]}"
  if layer not in _NAMES:
    name = f"{name} with the question at g layer {layer}"
  config = _reference_config(inputs, layer)
  model = config.model
  if inputs == "pixels":
    model.conv_channels = channels
  model.embedding_size = int(np.shape(embedding)[-1])
  model.lstm_units = lstm_units
  for part, units in (("g", g_units), ("f", f_units)):
    if len(units) != len(model[f"{part}_units"]):
      model[f"{part}_dropout"] = (0.0,) * len(units)
    model[f"{part}_units"] = units
  return name, config


def _reference_config(inputs: str, layer: int) -> ml_collections.ConfigDict:
  """Returns what configs/*_reference.py say, widths apart."""
  config = get_config()
  use_reference_semantics(config)
  config.model.inputs = inputs
  config.model.question_layer = layer
  if inputs == "states":
    config.model.f_dropout = (0.0, 0.05)
  else:
    config.data.augment = True
    config.train.num_epochs = 350.0 if layer == 2 else 500.0
  return config


def _need(tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
  if name not in tensors or not np.ndim(tensors[name]):
    present = ", ".join(list(tensors)[:6])
    raise ValueError(
      f"not a network of the reference: tensor {name} is missing; the file has "
      f"{len(tensors)} tensors: {present}, ..."
    )
  return tensors[name]


def _widths(
  tensors: Mapping[str, np.ndarray], name: str, first: int
) -> tuple[int, ...]:
  """Returns the lengths of the bias vectors name.format(first, ...)."""
  widths = [len(_need(tensors, name.format(first)))]
  while name.format(first + len(widths)) in tensors:
    widths.append(len(_need(tensors, name.format(first + len(widths)))))
  return tuple(widths)
