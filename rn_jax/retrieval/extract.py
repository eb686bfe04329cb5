r"""From a checkpoint and scenes to a features file.

    python launch.py --mode=extract --checkpoint=CHECKPOINT --workdir=W \
        --config.data.dir=RECORDS --split=val
    python launch.py --mode=extract --checkpoint=CHECKPOINT --workdir=W \
        --images=FOLDER

write W/features_val.npz and W/features_images.npz. Questions play no part:
the descriptors are what a network knows of a scene before it is asked.
"""

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from rn_jax.data.input_pipeline import prefetch
from rn_jax.host.exclusive import writing
from rn_jax.host.parts import Parts
from rn_jax.host.paths import absolute, local_paths
from rn_jax.host.pool import HERE, Pool, make_parts, pool_of
from rn_jax.host.progress import progress_bar
from rn_jax.retrieval.describe.extractor import Extractor, load_extractor
from rn_jax.retrieval.describe.features import Features, save_features
from rn_jax.retrieval.describe.part import (
  Recipe,
  describe_part,
  describe_rows,
  job_of,
  open_source,
  recipe_of,
)
from rn_jax.retrieval.describe.sources import Source

# Images between two saves; what a killed extraction loses at most.
IMAGES_PER_PART = 1024
_MOST_NAMED = 5  # of skipped files, in the log


def extract_command(
  checkpoint: str | os.PathLike,
  workdir: Path,
  *,
  split: str | None = None,
  images: Sequence[str] = (),
  descriptors: Sequence[str] = (),
  overrides: Mapping[str, Any] | None = None,
  beam_options: str | None = None,
) -> Path:
  """Does what `launch.py --mode=extract` does.

  Args:
    checkpoint: See load_extractor.
    workdir: Where features_<split>.npz goes.
    split: Split of the records in config.data.dir; None: "val". With `images`
      only the name of the file; None: "images".
    images: Image files and folders, in place of records.
    descriptors: Names; empty: what is usual for the network.
    overrides: Values to put into the network's config, by dotted key.
    beam_options: Options of Apache Beam, whose workers then describe; see
      docs/beam.md.

  Returns:
    The path of the features file.

  Raises:
    CheckpointError: There is no usable checkpoint.
    ValueError: The network cannot describe this so.
    OSError: A file cannot be read or written.
  """
  recipe = None
  pool = pool_of(None, beam_options)
  if beam_options is not None:
    images = list(map(os.path.abspath, local_paths(images)))
    checkpoint = absolute(checkpoint)
  extractor = load_extractor(checkpoint, descriptors, overrides)
  if not images:
    split = split or "val"
  source = open_source(extractor.config, split, images)
  if beam_options is not None:
    recipe = recipe_of(
      extractor, source, checkpoint, split, images, descriptors, overrides
    )
  path = workdir / f"features_{split or 'images'}.npz"
  features = extract(extractor, source, path, pool, recipe)
  for name, x in features.descriptors.items():
    logging.info("%s: %s, %d x %d", name, features.label(name), *x.shape)
  return path


def extract(
  extractor: Extractor,
  source: Source,
  path: Path,
  pool: Pool = HERE,
  recipe: Recipe | None = None,
) -> Features:
  """Describes all scenes of a source and writes the features file.

  Parts of it are kept beside `path` until it is whole; the same call after an
  interruption takes over those that are undamaged and of the same network,
  scenes and descriptors.

  Args:
    extractor: The network.
    source: The scenes.
    path: File to write.
    pool: Who describes them, if there is a recipe.
    recipe: From which workers elsewhere open network and scenes themselves.

  Returns:
    The features; as many rows as the source has scenes, less those that could
    not be read.

  Raises:
    BusyError: Another run writes the same file.
    ValueError: Nothing could be read, or there are several processes.
  """
  if jax.process_count() > 1:
    raise ValueError("extraction runs in one process, on all its devices")
  with writing(path):
    return _extract(extractor, source, path, pool, recipe)


def _extract(
  extractor: Extractor,
  source: Source,
  path: Path,
  pool: Pool,
  recipe: Recipe | None,
) -> Features:
  job = [*job_of(extractor, source), IMAGES_PER_PART]
  parts = Parts(path.with_name(f"{path.stem}.parts"), job)
  rows = range(source.size)
  rows_of = [rows[i : i + IMAGES_PER_PART] for i in rows[::IMAGES_PER_PART]]
  found = {}
  for part in range(len(rows_of)):
    arrays = parts.read_arrays(part)
    if arrays is not None:
      found[part] = arrays
  missing = [part for part in range(len(rows_of)) if part not in found]
  done = source.size - sum(len(rows_of[part]) for part in missing)
  if done:
    logging.info("Going on after %d of %d images", done, source.size)
  with progress_bar(
    total=source.size,
    initial=done,
    desc="describing",
    unit=" images",
  ) as progress:
    if recipe:
      made = _parts_elsewhere(parts, rows_of, missing, pool, recipe)
    else:
      made = _parts_here(parts, rows_of, missing, extractor, source)
    for part, arrays in made:
      found[part] = arrays
      progress.update(len(rows_of[part]))
  features = _join([found[i] for i in range(len(rows_of))], extractor, source)
  save_features(path, features)
  parts.remove()
  return features


def _parts_here(
  parts: Parts,
  rows_of: list[range],
  missing: list[int],
  extractor: Extractor,
  source: Source,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
  """Describes one part while the next ones are read."""

  def read(part: int):
    return source.read(rows_of[part].start, rows_of[part].stop)

  for part, scenes in zip(missing, prefetch(read, missing), strict=True):
    arrays = describe_part(extractor, scenes)
    parts.write_arrays(part, **arrays)
    yield part, arrays


def _parts_elsewhere(
  parts: Parts,
  rows_of: list[range],
  missing: list[int],
  pool: Pool,
  recipe: Recipe,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
  units = ((part, rows_of[part]) for part in missing)
  for part, content in make_parts(
    parts, describe_rows, units, pool, shared=(recipe,)
  ):
    yield part, parts.decode_arrays(part, content)


def _join(
  parts: list[dict[str, np.ndarray]], extractor: Extractor, source: Source
) -> Features:
  def joined(name: str) -> np.ndarray:
    return np.concatenate([part[name] for part in parts])

  skipped = joined("skipped").tolist()
  if skipped:
    logging.warning(
      "Skipped %d of %d files that are no readable images:\n  %s",
      len(skipped),
      source.size,
      "\n  ".join([*skipped[:_MOST_NAMED], "..."][: len(skipped)]),
    )
  features = Features(
    {d.name: joined(d.name) for d in extractor.descriptors},
    joined("image_index"),
    joined("image_filename"),
    {
      **extractor.metadata,
      "source": source.description,
      "skipped": skipped,
      "created": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
    },
  )
  if not len(features):
    raise ValueError(f"none of the {source.size} files is a readable image")
  if len(features) + len(skipped) != source.size:
    raise AssertionError("a scene was left out or described twice")
  return features
