"""Indices made of features files."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np
from absl import logging

from rn_jax.host.exclusive import exclusive
from rn_jax.host.paths import local_path
from rn_jax.retrieval.describe.features import Features, load_features
from rn_jax.retrieval.nearest.changes import with_rows
from rn_jax.retrieval.nearest.index_files import (
  LOCK,
  ImageIndex,
  check_dimension,
  check_fits,
  exists,
  open_index,
  write_index,
)
from rn_jax.retrieval.nearest.search import fill, prepare, train

# Enough for the 4,096 lists of an index of millions.
_MOST_TO_TRAIN_WITH = 262_144


def build_index(
  features: Features | Sequence[str | os.PathLike],
  descriptor: str,
  output: str | os.PathLike,
  *,
  metric: str | None = None,
  factory: str | None = None,
  search: str | None = None,
  trained_as: str | os.PathLike | None = None,
  overwrite: bool = False,
) -> ImageIndex:
  """Makes an index of the images of one features file or several.

  Of several, one at a time is in memory; they are read twice, first for what
  they are and vectors to train with. Image indices that are taken already are
  counted on. The same call again, as after an interruption, finds the index
  made and leaves it as it is.

  Args:
    features: The images; or files of them, all of one network.
    descriptor: Name of the descriptor.
    output: Folder to write.
    metric: "euclidean" or "cosine"; None: what the features file says.
    factory: FAISS's name for the kind of index; None: "Flat", which is exact.
      Kinds that need training are trained on the images, or 262,144 spread
      over them.
    search: FAISS's parameters of its search, as "nprobe=16"; kept in the index.
    trained_as: An index of the same network and descriptor, whose metric, kind,
      training and search to take over, in place of the three.
    overwrite: Replace an index that is there.

  Raises:
    ValueError: An argument makes no sense, or there are too few images to train
      such an index.
    FeaturesError: There is no such descriptor.
    FileExistsError: There is another index.
    ImageIndexError: There is an index, and it is damaged; or the files do not
      fit together.
    BusyError: Another run writes to the folder, also of changes.py.
  """
  folder = Path(local_path(output))
  if isinstance(features, Features):
    loaders = [lambda: features]
  else:
    loaders = [functools.partial(load_features, file) for file in features]
  like = None
  if trained_as is not None:
    if any(given is not None for given in (metric, factory, search)):
      raise ValueError(
        f"metric, factory and search are those of {trained_as}; leave them out"
      )
    like = open_index(trained_as, mapped=False)
    like.vectors.reset()
  factory, search = factory or "Flat", search or ""
  planned, sample = _plan(
    loaders, descriptor, folder, metric, factory, search, like
  )

  def made_before() -> ImageIndex | None:
    if overwrite or not exists(folder):
      return None
    there = open_index(folder)
    if not (
      there.header == json.loads(json.dumps(planned.header))
      and np.array_equal(there.image_index, planned.image_index)
      and np.array_equal(there.image_filename, planned.image_filename)
    ):
      raise FileExistsError(
        f"{folder} holds another index already; add to it, choose another "
        "folder, or pass overwrite"
      )
    logging.warning("%s is whole and made of the same; left as it is", folder)
    return there

  if there := made_before():  # before the work, and again after it
    return there
  vectors = (
    prepare(load().descriptor(descriptor), planned.header["metric"])
    for load in loaders
  )
  index = dataclasses.replace(
    planned,
    vectors=fill(
      train(sample, factory, search) if like is None else like.vectors,
      vectors,
    ),
  )
  with exclusive(folder / LOCK):
    if there := made_before():
      return there
    write_index(index)
  return index


def _plan(
  loaders: Sequence[Callable[[], Features]],
  descriptor: str,
  folder: Path,
  metric: str | None,
  factory: str,
  search: str,
  like: ImageIndex | None,
) -> tuple[ImageIndex, np.ndarray]:
  """Returns an index but for its vectors, and vectors to train it with.

  For the arguments see build_index; `like` is trained and without vectors.
  """
  index, samples, digest = None, [], hashlib.sha256()
  for load in loaders:
    features = load()
    vectors = features.descriptor(descriptor)
    if index is None:
      about = features.about(descriptor)
      if like is not None:
        check_fits(like, features.metadata, descriptor)
        check_dimension(like, vectors)
        metric, factory = like.header["metric"], like.header["factory"]
      index = ImageIndex(
        folder,
        {
          "metric": metric or about.get("metric", "euclidean"),
          "factory": factory,
          "descriptor": {"name": descriptor, **about},
          "network": features.metadata.get("network"),
          "preprocessing": features.metadata.get("preprocessing"),
          "sources": [features.metadata.get("source", {})],
        },
        faiss.IndexFlatL2(np.shape(vectors)[-1]),
        features.image_index,
        features.image_filename,
        np.zeros(len(features), np.int64),
      )
    else:
      index = with_rows(index, features)
    vectors = prepare(vectors, index.header["metric"])
    digest.update(vectors.data)
    most = _MOST_TO_TRAIN_WITH // len(loaders)
    samples.append(vectors[:: max(-(-len(vectors) // most), 1)])
  if index is None:
    raise ValueError("name at least one features file")
  if not len(index):
    raise ValueError("no index of 0 vectors; describe at least one image")
  # So that the same call again need not train; a change takes it away.
  made_of = {"search": search, "sha256": digest.hexdigest()}
  if like is not None:
    training = faiss.serialize_index(like.vectors)
    made_of["trained_as"] = hashlib.sha256(training.tobytes()).hexdigest()
  index.header["made_of"] = made_of
  sample = samples[0] if len(samples) == 1 else np.concatenate(samples)
  return index, sample
