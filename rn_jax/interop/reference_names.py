"""The reference's tensor names and layouts, and ours.

The reference implementation is the PyTorch code of "Re-implementing and
Extending Relation Network for R-CBIR". Its tensors differ from ours in name
and in the order of their axes only: gates, pair order, cell features and the
place of the question's columns are the same.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from rn_jax.steps import make_model

# From PyTorch's axes to ours.
_CONV = (2, 3, 1, 0)  # [out, in, h, w] -> [h, w, in, out]
_DENSE = (1, 0)  # [out, in] -> [in, out]

# Counts the batches that running averages have seen; PyTorch adds it since
# 0.4.1 and uses it only for cumulative averages, which the reference has not.
_COUNTER = re.compile(r"conv\.batchNorm\d+\.num_batches_tracked")
_CONV_ENCODER = re.compile(r"conv\.(conv|batchNorm)\d+\.")


class Entry(NamedTuple):
  """One tensor: the reference's name, our path, and the axes of ours."""

  name: str
  path: tuple[str, ...]
  axes: tuple[int, ...]


def entries(config: ml_collections.ConfigDict) -> list[Entry]:
  """Lists the tensors of a network in the reference's order.

  Args:
    config: The `model` part of a config.

  Raises:
    ValueError: The network is an AVF-RN.
  """
  if config.aggregation == "mean":
    raise ValueError(
      "this network takes the mean over pairs, and the reference's their sum"
    )
  if config.bidirectional or config.aggregation != "sum":
    raise ValueError(
      "an AVF-RN has no known PyTorch counterpart: the reference keeps it on "
      "a branch without published weights, and its tensor names are unknown"
    )
  rows = []
  if config.inputs == "pixels":
    for i in range(len(config.conv_channels)):
      conv, norm = f"conv.conv{i + 1}", f"conv.batchNorm{i + 1}"
      ours = ("params", "conv_encoder", f"conv_{i}")
      rows += [
        (f"{conv}.weight", (*ours, "kernel"), _CONV),
        (f"{conv}.bias", (*ours, "bias"), (0,)),
      ]
      ours = ("conv_encoder", f"batch_norm_{i}")
      rows += [
        (f"{norm}.weight", ("params", *ours, "scale"), (0,)),
        (f"{norm}.bias", ("params", *ours, "bias"), (0,)),
        (f"{norm}.running_mean", ("batch_stats", *ours, "mean"), (0,)),
        (f"{norm}.running_var", ("batch_stats", *ours, "var"), (0,)),
      ]
  ours = ("params", "question_encoder")
  lstm = (*ours, "lstm")
  rows += [
    # One row per word: nothing to transpose.
    ("text.wembedding.weight", (*ours, "embedding", "embedding"), (0, 1)),
    ("text.lstm.weight_ih_l0", (*lstm, "kernel_ih"), _DENSE),
    ("text.lstm.weight_hh_l0", (*lstm, "kernel_hh"), _DENSE),
    ("text.lstm.bias_ih_l0", (*lstm, "bias_ih"), (0,)),
    ("text.lstm.bias_hh_l0", (*lstm, "bias_hh"), (0,)),
  ]
  num_f = len(config.f_units)
  dense = [
    (f"rl.f_fc{i + 1}", ("answer_network", f"f_{i}")) for i in range(num_f)
  ]
  dense.append((f"rl.f_fc{num_f + 1}", ("answer_network", "logits")))
  dense += [
    (f"rl.g_layers.{i}", ("relation_core", f"g_{i}"))
    for i in range(len(config.g_units))
  ]
  for name, ours in dense:
    rows += [
      (f"{name}.weight", ("params", *ours, "kernel"), _DENSE),
      (f"{name}.bias", ("params", *ours, "bias"), (0,)),
    ]
  return [Entry(*row) for row in rows]


def strip_prefix(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Removes what is before all names, such as `module.` or `_orig_mod.`.

  PyTorch's DataParallel puts it there, torch.compile, and whatever has the
  network as a part.
  """
  tensors = dict(tensors)
  while len({name.partition(".")[:2] for name in tensors}) == 1 and all(
    "." in name for name in tensors
  ):
    tensors = {k.partition(".")[2]: x for k, x in tensors.items()}
  return tensors


def shapes(
  config: ml_collections.ConfigDict, num_words: int, num_answers: int
) -> dict[str, tuple[int, ...]]:
  """Returns the shape of each tensor in the reference's layout.

  Args:
    config: The whole config.
    num_words: Words of the vocabulary, padding not counted.
    num_answers: Answers of the vocabulary.
  """
  model = make_model(config, num_words, num_answers)
  size = config.data.image_size
  rows = config.data.max_objects
  batch = {
    "image": np.zeros((1, size, size, 3), np.uint8),
    "objects": np.zeros((1, rows, 7), np.float32),
    "object_mask": np.ones((1, rows), bool),
    "question": np.zeros((1, 1, 4), np.int32),
    "question_length": np.full((1, 1), 4, np.int32),
  }
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)
  flat: dict[tuple, Any] = flatten_dict(variables)
  return {
    name: tuple(flat[path].shape[axis] for axis in np.argsort(axes))
    for name, path, axes in entries(config.model)
  }


def to_variables(
  tensors: Mapping[str, np.ndarray],
  config: ml_collections.ConfigDict,
  num_words: int,
  num_answers: int,
) -> dict:
  """Turns the reference's tensors into our variables.

  Args:
    tensors: {the reference's name: array}, as from strip_prefix.
    config: The whole config of the network.
    num_words: Words of the vocabulary, padding not counted.
    num_answers: Answers of the vocabulary.

  Returns:
    {"params", "batch_stats"} of float32 arrays, as nested dicts.

  Raises:
    ValueError: Names each tensor that is missing, unexpected, of another shape
      or not made of finite floating-point numbers.
  """
  expected = shapes(config, num_words, num_answers)
  ignored = [_COUNTER]
  if config.model.inputs == "states":
    # The reference builds a conv encoder here, too, and never calls it.
    ignored.append(_CONV_ENCODER)
  found = {
    name: array
    for name, array in tensors.items()
    if not any(pattern.match(name) for pattern in ignored)
  }
  wrong = []
  for name in [*expected, *(found.keys() - expected.keys())]:
    array = found.get(name)
    if array is None:
      wrong.append(f"{name}: expected {expected[name]}, found none")
    elif name not in expected:
      wrong.append(f"{name}: not expected, found {array.shape}")
    elif array.shape != expected[name]:
      wrong.append(f"{name}: expected {expected[name]}, found {array.shape}")
    elif not jax.numpy.issubdtype(array.dtype, jax.numpy.floating):
      wrong.append(f"{name}: expected floats, found {array.dtype}")
    elif not np.isfinite(array.astype(np.float64)).all():
      wrong.append(f"{name}: holds NaN or infinity")
  if wrong:
    raise ValueError(
      "the tensors do not fit the network:"
      + "".join(f"\n  {line}" for line in wrong[:8])
      + (f"\n  and {len(wrong) - 8} more" if len(wrong) > 8 else "")
    )
  variables = unflatten_dict(
    {
      path: np.ascontiguousarray(found[name].transpose(axes), np.float32)
      for name, path, axes in entries(config.model)
    }
  )
  return {"batch_stats": {}, **variables}


def to_tensors(
  variables: Mapping, config: ml_collections.ConfigDict
) -> dict[str, np.ndarray]:
  """Turns our variables into the reference's tensors; undoes to_variables.

  Args:
    variables: {"params", "batch_stats"}.
    config: The `model` part of the config.

  Raises:
    ValueError: The network is an AVF-RN, or has other parts that the
      reference's has not.
  """
  rows = entries(config)
  flat = flatten_dict(variables)
  if other := flat.keys() ^ {path for _, path, _ in rows}:
    parts = sorted({".".join(path[1:3]) for path in other})
    raise ValueError(
      "this network is built in another way than the reference's, which "
      f"differs in {', '.join(parts)}"
    )
  return {
    name: np.ascontiguousarray(
      np.asarray(flat[path]).transpose(np.argsort(axes))
    )
    for name, path, axes in rows
  }
