"""The descriptors of an image that a network can give, by name."""

import dataclasses
import re
from typing import Any

import ml_collections

# Shown by `launch.py --help`.
HELP = (
  "Names of descriptors. gL_avg, gL_max and gL_sum: mean, largest value and "
  "sum over all pairs of objects, each pair's input of g_theta's layer L (what "
  "the layer before gave after its ReLU, without the question) scaled to unit "
  "length; g2_avg of a 2S-RN is its published descriptor. The sum differs from "
  "the mean where objects are masked: it grows with their number. gL_avg_raw "
  "and so on: the same without the scaling. L is at most the layer at which "
  "the question joins. From pixels also conv_avg and conv_max over the cells "
  "of the last convolution, and conv_rmac, R-MAC pooling of them. aggregate: "
  "the sum over pairs of an AVF-RN. oL_avg and so on: of object relations "
  "without pairs, each object's input of layer L. Not given: what is usual "
  "for the network"
)
_LAYERS = re.compile(r"([go]\d+)_(avg|max|sum)(_raw)?")
_CELLS = ("avg", "max", "rmac")


@dataclasses.dataclass(frozen=True)
class Descriptor:
  """One way to describe an image.

  Attributes:
    name: As above.
    label: For tables and pictures.
    layer: What is pooled: "g2", the input of g_theta's layer 2, "o1", that of
      the second layer of object relations, "conv", or "aggregate".
    pooling: "avg", "max", "sum", "rmac", or "network" where it does that.
    unit_pairs: Whether each pair is scaled to unit length first.
    metric: How images are compared in the literature: "euclidean" or "cosine".
  """

  name: str
  label: str
  layer: str
  pooling: str
  unit_pairs: bool = False
  metric: str = "euclidean"

  def metadata(self) -> dict:
    """Returns what a features file says of it."""
    return {k: v for k, v in dataclasses.asdict(self).items() if k != "name"}


def _head(model: ml_collections.ConfigDict) -> Any:
  """Makes the head of a network; only here, for `--help` needs no JAX."""
  from rn_jax.models.relation.head import make_head

  return make_head(model)


def _has_cells(model: ml_collections.ConfigDict) -> bool:
  """Returns whether a network's objects are cells of its convolutions."""
  return model.inputs == "pixels" and model.get("objects", "cells") == "cells"


def network_name(model: ml_collections.ConfigDict) -> str:
  """Returns "RN", "2S-RN", "AVF-RN" or "object relations", by the head.

  "multilabel" if there is none: the network of multilabel.py.
  """
  if "g_units" not in model:
    return "multilabel"
  head = _head(model)
  if "aggregate" in head.described:
    return "AVF-RN" if "g0" in head.described else "object relations"
  if "g0" not in head.described:
    return "object relations"
  return "2S-RN" if "g_0" in head.question_free else "RN"


def default_descriptors(model: ml_collections.ConfigDict) -> list[str]:
  """Returns the names of the usual descriptors of a network.

  Args:
    model: The `model` part of its config.
  """
  kind = network_name(model)
  if kind == "multilabel":
    return ["conv_avg"]
  last = _head(model).described[-1]
  if kind == "object relations":
    return [last if last == "aggregate" else f"{last}_sum"]
  names = {
    "RN": ["g0_avg", "g0_avg_raw"],
    "2S-RN": [f"{last}_avg", f"{last}_max"],
    "AVF-RN": ["aggregate"],
  }[kind]
  if model.inputs == "states" and model.mask_objects and kind == "2S-RN":
    names.append(f"{last}_sum")
  if _has_cells(model):
    names += [f"conv_{pooling}" for pooling in _CELLS]
  return names


def parse_descriptor(name: str, model: ml_collections.ConfigDict) -> Descriptor:
  """Returns the descriptor of a name, if the network has it.

  Raises:
    ValueError: There is no such name, or this network cannot give it.
  """
  network = network_name(model)
  layers = _LAYERS.fullmatch(name)
  if network == "multilabel" and not name.startswith("conv_"):
    raise ValueError(
      f"descriptor {name!r}: the multi-label CNN gives conv_avg, conv_max and "
      "conv_rmac"
    )
  if layers:
    layer, pooling, raw = layers[1], layers[2], bool(layers[3])
    known = [x for x in _head(model).described if x != "aggregate"]
    if layer not in known:
      raise ValueError(
        f"descriptor {name!r}: this {network} knows before the question only "
        f"{known[0]} to {known[-1]}, the inputs of its first layers: "
        f"{known[-1]}_{pooling}"
      )
    usual = network == "2S-RN" and layer == known[-1]
    where = "" if usual else f" {layer}"
    suffix = " (raw pairs)" if raw else ""
    label = f"{network}{where} {pooling}{suffix}"
    return Descriptor(name, label, layer, pooling, unit_pairs=not raw)
  if name.startswith("conv_") and name.removeprefix("conv_") in _CELLS:
    if not _has_cells(model):
      what = "reads state descriptions and has no convolutions"
      if model.inputs == "pixels":
        what = f"relates what objects={model.objects!r} says, not its cells"
      raise ValueError(f"descriptor {name!r}: this network {what}")
    pooling = name.removeprefix("conv_")
    if pooling == "rmac":
      # Never plain "R-MAC", which has another, larger network before it.
      cnn = "multilabel" if network == "multilabel" else "RN"
      label = f"R-MAC ({cnn} CNN)"
      return Descriptor(name, label, "conv", pooling, metric="cosine")
    return Descriptor(name, f"{network} conv {pooling}", "conv", pooling)
  if name == "aggregate":
    if "aggregate" not in _head(model).described:
      raise ValueError(
        "descriptor 'aggregate': only an AVF-RN sums its pairs before it reads "
        f"the question; this network: {network}"
      )
    return Descriptor(name, network, "aggregate", "network")
  raise ValueError(
    f"no descriptor {name!r}; names are gL_avg, gL_max, gL_sum, with _raw "
    "behind or without, for a layer L of g_theta, conv_avg, conv_max, "
    f"conv_rmac, aggregate; usual for this {network}: "
    + ", ".join(default_descriptors(model))
  )
