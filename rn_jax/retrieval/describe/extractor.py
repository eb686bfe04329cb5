"""Networks that describe scenes.

from rn_jax.retrieval.describe.extractor import load_extractor

describe = load_extractor("imported/ir_fp", ["g2_avg"])
describe({"image": images})["g2_avg"]  # [S, H, W, 3] -> [S, D]
"""

import dataclasses
import functools
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import ml_collections
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Float

import rn_jax
from rn_jax import checkpoint, parallel
from rn_jax.host.paths import absolute
from rn_jax.models import RelationNetwork
from rn_jax.models.blocks import map_blocks
from rn_jax.models.scene import Scene
from rn_jax.retrieval.describe.descriptors import (
  Descriptor,
  default_descriptors,
  network_name,
  parse_descriptor,
)
from rn_jax.retrieval.describe.multilabel import MultilabelNetwork
from rn_jax.retrieval.describe.pooling import describe_scene
from rn_jax.settings import read_config
from rn_jax.steps import make_model

# What a network reads of a scene, besides its own settings.
_READ = ("data.image_size", "data.max_objects", "data.boxes")


def make_extract_step(
  model: RelationNetwork | MultilabelNetwork,
  descriptors: Sequence[Descriptor],
) -> Callable:
  """Makes the descriptors of one device's share of a batch of scenes.

  Returns:
    step(variables, scenes, batch) -> {name: [S, D]} of the whole batch, to be
    mapped by parallel.pmap_predict_step; `scenes` is empty.
  """
  of_head = any(d.layer != "conv" for d in descriptors)

  def describe(variables, scene):
    described = {}
    if of_head:
      found = model.apply(variables, scene, method="describe")
      described = cast(dict[str, jax.Array], found)
    return jax.vmap(functools.partial(describe_scene, descriptors))(
      described, scene.objects, scene.mask
    )

  def step(variables: dict, scenes: dict, batch: dict):
    if isinstance(model, MultilabelNetwork):
      _, outputs = model.apply(variables, batch)
      scene = Scene(cast(dict, outputs)["objects"])
    else:
      scene = model.apply(variables, batch, method="encode_scenes")
    _, found = map_blocks(
      lambda scene, _: ((), describe(variables, scene)),
      cast(Scene, scene),
      (),
      model.config.scenes_per_block,
    )
    return parallel.gather_over_devices(found)

  return step


@dataclasses.dataclass(frozen=True)
class Extractor:
  """A network that describes scenes; made by `load_extractor`.

  Attributes:
    config: The whole config it was trained with.
    descriptors: What it gives.
    metadata: What a features file says of network, preprocessing, versions.
    step: Compiled; see make_extract_step.
    variables: {"params", "batch_stats"}.
  """

  config: ml_collections.ConfigDict
  descriptors: tuple[Descriptor, ...]
  metadata: dict
  step: Callable
  variables: Mapping

  def __call__(
    self, scenes: Mapping[str, np.ndarray], batch_size: int | None = None
  ) -> dict[str, Float[np.ndarray, "S _"]]:
    """Describes scenes.

    Args:
      scenes: `image` [S, H, W, 3] uint8, or `objects` [S, N, 7] and
        `object_mask` [S, N].
      batch_size: Scenes per step; None: eval.batch_size of the config. The
        last step is filled up, and the filling dropped.

    Returns:
      float32 by the name of the descriptor.
    """
    count = len(next(iter(scenes.values())))
    if not count:  # the shapes of the result are wanted all the same
      none = {
        n: np.zeros((1, *x.shape[1:]), x.dtype) for n, x in scenes.items()
      }
      return {name: x[:0] for name, x in self(none, batch_size).items()}
    devices = jax.device_count()
    size = batch_size or self.config.eval.batch_size
    size = -(-size // devices) * devices
    found = []
    for start in range(0, count, size):
      rows = np.arange(start, start + size)
      rows[rows >= count] = start  # dropped below
      batch = {name: x[rows] for name, x in scenes.items()}
      batch = parallel.split_over_devices(batch)
      found.append(self.step(self.variables, {}, batch))
    parts = jax.device_get(found)
    return {
      d.name: np.concatenate([part[d.name] for part in parts])[:count]
      for d in self.descriptors
    }


def load_extractor(
  path: str | os.PathLike,
  names: Sequence[str] = (),
  overrides: Mapping[str, Any] | None = None,
) -> Extractor:
  """Loads a network to describe scenes with.

  Args:
    path: A workdir, its checkpoints folder, or the folder of one step.
    names: Descriptors, see descriptors.py; empty: what is usual.
    overrides: Values to put into the network's config, by dotted key.

  Raises:
    CheckpointError: There is no usable checkpoint.
    ValueError: The network cannot give such a descriptor.
  """
  variables, meta = checkpoint.load_model(path)
  config = read_config(meta["config"], overrides)
  if network_name(config.model) == "multilabel":
    if "object_finder" in variables["params"]:
      raise ValueError(
        f"{path} holds a finder of objects, which describes no images; a "
        "Relation Network that began with it does (rn_jax/train_finder.py)"
      )
    model = MultilabelNetwork(ml_collections.FrozenConfigDict(config.model))
  else:
    vocabulary = meta["vocabulary"]
    model = make_model(
      config, len(vocabulary["questions"]), len(vocabulary["answers"])
    )
  names = [names] if isinstance(names, str) else names
  chosen = dict.fromkeys(names or default_descriptors(config.model))
  descriptors = tuple(parse_descriptor(n, config.model) for n in chosen)
  metadata = {
    "network": {
      "name": network_name(config.model),
      "checkpoint": absolute(path),
      "checkpoint_sha256": meta["hashes"]["model"],
      "step": meta["step"],
      "config": config.model.to_dict(),
      "overrides": _telling(overrides, read_config(meta["config"]), config),
    },
    "preprocessing": _preprocessing(config),
    "descriptors": {d.name: d.metadata() for d in descriptors},
    "versions": {
      "rn_jax": rn_jax.__version__,
      **{
        name: importlib.metadata.version(name)
        for name in ("jax", "flax", "numpy", "pillow")
      },
    },
  }
  return Extractor(
    config,
    descriptors,
    # As a reader of the file sees it: tuples are lists.
    json.loads(json.dumps(metadata)),
    parallel.pmap_predict_step(make_extract_step(model, descriptors)),
    parallel.replicate(variables),
  )


def _telling(
  overrides: Mapping[str, Any] | None,
  saved: ml_collections.ConfigDict,
  used: ml_collections.ConfigDict,
) -> dict[str, Any]:
  """Returns what of the overrides makes other vectors than the network's."""
  before, now = (flatten_dict(c.to_dict(), sep=".") for c in (saved, used))
  return {
    key: now[key]
    for key in overrides or {}
    if (key.startswith("model.") or key in _READ)
    and key != "model.scenes_per_block"
    and before.get(key) != now[key]
  }


def _preprocessing(config: ml_collections.ConfigDict) -> dict:
  if config.model.inputs == "states":
    return {"rows": config.data.max_objects}
  return {
    "mode": "RGB",
    "size": config.data.image_size,
    "resize": "bilinear with antialiasing, proportions not kept",
    "scale": "1/255",
  }
