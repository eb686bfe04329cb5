"""The built-in data of a config: generated, converted, cached."""

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from absl import logging

from data_prep.convert_clevr import convert
from data_prep.generate import generate
from data_prep.generation.job import VERSION, Job
from data_prep.language.reading import load_language
from rn_jax.data import records
from rn_jax.host.exclusive import exclusive
from rn_jax.host.user_cache import user_cache_dir


def prepare(
  *,
  num_train_scenes: int,
  num_val_scenes: int,
  seed: int,
  templates: Sequence[str],
  min_objects: int,
  max_objects: int,
  min_visible_pixels: int = 0,
  language_dir: str = "",
  image_size: int | None = None,
) -> Path:
  """Generates a train and a val split and converts them to records.

  Args:
    num_train_scenes: Scenes of the train split.
    num_val_scenes: Scenes of the val split.
    seed: Seed of both.
    templates: Template files to use; empty: all.
    min_objects: Fewest objects of a scene.
    max_objects: Most objects of a scene.
    min_visible_pixels: Fewest pixels that each object shows; 0, as states are
      seen whatever stands before them, does not look.
    language_dir: Folder of the question templates; empty: the project's own.
    image_size: Side of the pictures in pixels; None: the records have none.

  Returns:
    The records folder, which is reused when it has been made before.
  """
  # All that decides what the data are; a new release makes new data.
  arguments = locals() | {"generator": VERSION}
  if image_size is None:  # the key stays that of when there were no pictures
    del arguments["image_size"]
  else:
    from data_prep.rendering.engine import VERSION as RENDERER

    arguments["renderer"] = RENDERER
  language = load_language(language_dir or None, names=templates or None)
  # Its content counts, not where it lies.
  arguments |= {"language": language.fingerprint, "language_dir": None}
  arguments["records"] = records.FORMAT_VERSION
  key = json.dumps(arguments, sort_keys=True).encode()
  root = user_cache_dir() / f"clevr-{hashlib.sha256(key).hexdigest()[:12]}"
  records_dir = root / "records"
  sizes = {"train": num_train_scenes, "val": num_val_scenes}
  if _has(records_dir, sizes):
    logging.info("Using the data in %s", root)
    return records_dir
  for split, num_scenes in sizes.items():
    if num_scenes < 1:
      raise ValueError(
        f"config.generate.num_{split}_scenes is {num_scenes}; built-in data "
        "need scenes to train on, and others to validate with"
      )
  make = generate
  if image_size is not None:  # pictures are drawn into the records
    make = functools.partial(
      generate,
      size=(image_size, image_size),
      records_dir=records_dir,
      record_size=image_size,
    )
  # Other trainings may want the same data: they wait for one to make them.
  with exclusive(root / ".prepare.lock", wait=True):
    if _has(records_dir, sizes):
      return records_dir
    logging.info("Making data in %s", root)
    for split, num_scenes in sizes.items():
      job = Job(
        split,
        num_scenes,
        seed,
        min_objects,
        max_objects,
        min_visible_pixels,
        language_dir=language_dir or None,
        templates=tuple(templates),
      )
      make(root, job)
    if image_size is None:
      convert(root, records_dir, splits=tuple(sizes))
  return records_dir


def _has(records_dir: Path, splits: Iterable[str]) -> bool:
  """Whether records hold all of the splits."""
  if not (records_dir / records.MANIFEST).exists():
    return False
  return all(
    split in records.read_manifest(records_dir)["splits"] for split in splits
  )
