"""A part of an extraction: descriptors of some scenes, here or elsewhere."""

import dataclasses
import functools
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from rn_jax.host.parts import encode_arrays
from rn_jax.host.paths import absolute
from rn_jax.retrieval.describe.extractor import Extractor, load_extractor
from rn_jax.retrieval.describe.features import Features, check
from rn_jax.retrieval.describe.sources import (
  Scenes,
  Source,
  image_source,
  split_source,
)

_one_at_a_time = threading.Lock()  # a network keeps the whole machine busy


def open_source(
  config: ml_collections.ConfigDict, split: str | None, images: Sequence[str]
) -> Source:
  """Opens what is to be described: images, or else a split of records."""
  if not images:
    assert split is not None
    return split_source(config.data, config.model.inputs, split)
  if config.model.inputs == "states":
    raise ValueError(
      "this network reads state descriptions, not images: give records, "
      "--config.data.dir=RECORDS"
    )
  return image_source(images, config.data.image_size)


def job_of(extractor: Extractor, source: Source) -> list:
  """Returns what descriptors depend on, as JSON values."""
  return [extractor.metadata, source.description, source.sha256]


def describe_part(
  extractor: Extractor, scenes: Scenes
) -> dict[str, np.ndarray]:
  """Describes scenes; returns the arrays of a part."""
  described = Features(
    extractor(scenes.arrays), scenes.image_index, scenes.image_filename, {}
  )
  check(described, "a part")  # now, not after hours
  return {
    **described.descriptors,
    "image_index": described.image_index,
    "image_filename": described.image_filename,
    "skipped": np.array(scenes.skipped, np.str_),
  }


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What a worker needs to open network and scenes; see extract_command.

  Attributes:
    job: What they must turn out to be; see job_of.
    precision: JAX's of matrix products.
  """

  checkpoint: str
  split: str | None
  images: tuple[str, ...]
  descriptors: tuple[str, ...]
  overrides: dict[str, Any]
  job: list
  precision: str | None

  @functools.cached_property
  def opened(self) -> tuple[Extractor, Source]:
    """Network and scenes, opened once in each process.

    Raises:
      ValueError: They are not those of the process that made the recipe.
    """
    extractor = load_extractor(
      self.checkpoint, self.descriptors, self.overrides
    )
    source = open_source(extractor.config, self.split, self.images)
    if job_of(extractor, source) != self.job:
      raise ValueError(
        f"a worker finds another network, other scenes or other versions "
        f"({extractor.metadata['versions']}) than the command "
        f"({self.job[0]['versions']}); give all workers the same"
      )
    return extractor, source


def recipe_of(
  extractor: Extractor,
  source: Source,
  checkpoint: str | os.PathLike,
  split: str | None,
  images: Sequence[str],
  descriptors: Sequence[str],
  overrides: Mapping[str, Any] | None,
) -> Recipe:
  """Returns how to open these; for the arguments see extract_command."""
  overrides = dict(overrides or {})
  if not images:
    overrides["data.dir"] = absolute(extractor.config.data.dir)
  return Recipe(
    os.fspath(checkpoint),
    split,
    tuple(images),
    tuple([descriptors] if isinstance(descriptors, str) else descriptors),
    overrides,
    job_of(extractor, source),
    jax.config.jax_default_matmul_precision,  # pyright: ignore[reportAttributeAccessIssue]
  )


def describe_rows(recipe: Recipe, rows: range) -> tuple[bytes, dict[str, int]]:
  """Describes some rows of a source; returns a part, and what was counted."""
  with _one_at_a_time, jax.default_matmul_precision(recipe.precision):
    extractor, source = recipe.opened
    arrays = describe_part(extractor, source.read(rows.start, rows.stop))
  counts = {
    "described scenes": len(arrays["image_index"]),
    "refusals": len(arrays["skipped"]),
  }
  return encode_arrays(**arrays), counts
