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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from rn_jax.data.input_pipeline import prefetch
from rn_jax.host.exclusive import writing
from rn_jax.host.parts import Parts
from rn_jax.host.progress import progress_bar
from rn_jax.retrieval.describe.extractor import Extractor, load_extractor
from rn_jax.retrieval.describe.features import Features, check, save_features
from rn_jax.retrieval.describe.sources import Source, image_source, split_source

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

  Returns:
    The path of the features file.

  Raises:
    CheckpointError: There is no usable checkpoint.
    ValueError: The network cannot describe this so.
    OSError: A file cannot be read or written.
  """
  extractor = load_extractor(checkpoint, descriptors, overrides)
  config = extractor.config
  if not images:
    split = split or "val"
    source = split_source(config.data, config.model.inputs, split)
  elif config.model.inputs == "states":
    raise ValueError(
      "this network reads state descriptions, not images: give records, "
      "--config.data.dir=RECORDS"
    )
  else:
    source = image_source(images, config.data.image_size)
  path = workdir / f"features_{split or 'images'}.npz"
  features = extract(extractor, source, path)
  for name, x in features.descriptors.items():
    logging.info("%s: %s, %d x %d", name, features.label(name), *x.shape)
  return path


def extract(extractor: Extractor, source: Source, path: Path) -> Features:
  """Describes all scenes of a source and writes the features file.

  Parts of it are kept beside `path` until it is whole; the same call after an
  interruption takes over those that are undamaged and of the same network,
  scenes and descriptors.

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
    return _extract(extractor, source, path)


def _extract(extractor: Extractor, source: Source, path: Path) -> Features:
  job = [extractor.metadata, source.description, source.sha256, IMAGES_PER_PART]
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

    def read(part: int):
      return source.read(rows_of[part].start, rows_of[part].stop)

    for part, scenes in zip(missing, prefetch(read, missing), strict=True):
      described = Features(
        extractor(scenes.arrays), scenes.image_index, scenes.image_filename, {}
      )
      check(described, f"part {part}")  # now, not after hours
      found[part] = arrays = {
        **described.descriptors,
        "image_index": described.image_index,
        "image_filename": described.image_filename,
        "skipped": np.array(scenes.skipped, np.str_),
      }
      parts.write_arrays(part, **arrays)
      progress.update(len(rows_of[part]))
  features = _join([found[i] for i in range(len(rows_of))], extractor, source)
  save_features(path, features)
  parts.remove()
  return features


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
