"""Changes of an index that is there: images added, removed, merged."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from rn_jax.retrieval.describe.features import Features
from rn_jax.retrieval.image_indices import is_index
from rn_jax.retrieval.nearest.index_files import (
  ImageIndex,
  ImageIndexError,
  changing,
  check_dimension,
  check_fits,
  open_index,
  write_index,
)
from rn_jax.retrieval.nearest.search import append, faiss_errors, prepare


def add_images(path: str | os.PathLike, features: Features) -> ImageIndex:
  """Adds the images of a features file to an index.

  Indices that are taken already are counted on from the largest one.

  Raises:
    ImageIndexError: The features are of another network or descriptor, an image
      is there already, or FAISS cannot add to such an index.
  """
  with changing(path):
    index = with_rows(open_index(path, mapped=False), features)
    vectors = features.descriptor(index.header["descriptor"]["name"])
    with faiss_errors(f"{path}: FAISS cannot add to it"):
      index.vectors.add(prepare(vectors, index.header["metric"]))
    index.header.pop("made_of", None)
    write_index(index)
    return index


def with_rows(index: ImageIndex, features: Features) -> ImageIndex:
  """Returns an index with the names and numbers of more images.

  Their vectors are yet to be added.

  Raises:
    ImageIndexError: As `add_images` does.
  """
  name = index.header["descriptor"]["name"]
  check_fits(index, features.metadata, name)
  check_dimension(index, features.descriptor(name))
  return _with_rows(
    index,
    features.image_index,
    features.image_filename,
    np.zeros(len(features), np.int64),
    [features.metadata.get("source", {})],
  )


def merge_index(
  path: str | os.PathLike, other: str | os.PathLike
) -> ImageIndex:
  """Adds the images of another index of the same network and descriptor.

  Kinds of IVF that were trained alike, as copies of one index are that then got
  images of their own, hand over their codes as they are; of others the vectors
  are read and put in anew, and what a kind has lost of them stays lost. The
  other index is left as it is.

  Args:
    path: The index to change.
    other: The index to add.

  Raises:
    ImageIndexError: The two do not fit together, an image is in both, or FAISS
      cannot add to such an index.
  """
  with changing(path):
    index = open_index(path, mapped=False)
    more = open_index(other, mapped=False)
    metadata = {
      "descriptors": {more.header["descriptor"]["name"]: _about(more)},
      "network": more.header["network"],
      "preprocessing": more.header["preprocessing"],
    }
    check_fits(index, metadata, more.header["descriptor"]["name"])
    mine, theirs = index.header["metric"], more.header["metric"]
    if mine != theirs:
      raise ImageIndexError(
        f"{path} compares by the {mine} distance, {other} by the {theirs}"
      )
    if index.vectors.d != more.vectors.d:
      raise ImageIndexError(
        f"{path} holds vectors of {index.vectors.d} numbers, {other} of "
        f"{more.vectors.d}"
      )
    grown = _with_rows(
      index,
      more.image_index,
      more.image_filename,
      more.source,
      more.header["sources"],
    )
    with faiss_errors(f"{path}: FAISS cannot add to it"):
      append(index.vectors, more.vectors)
    grown.header.pop("made_of", None)
    write_index(grown)
    return grown


def _about(index: ImageIndex) -> dict:
  """Returns the metadata of an index's descriptor, without its name."""
  return {k: v for k, v in index.header["descriptor"].items() if k != "name"}


def _with_rows(
  index: ImageIndex,
  image_index: np.ndarray,
  image_filename: np.ndarray,
  source: np.ndarray,
  sources: Sequence[dict],
) -> ImageIndex:
  """Returns an index with more names and numbers; `source` is in `sources`."""
  known = list(index.header["sources"])
  places = []
  for one in sources:
    if one not in known:
      known.append(one)
    places.append(known.index(one))
  source = np.asarray(places, np.int64)[source]
  for place in np.unique(source):
    mine = index.image_filename[index.source == place]
    again = np.intersect1d(mine, image_filename[source == place])
    if len(again):
      raise ImageIndexError(
        f"{index.folder} holds {len(again)} of these images already, as "
        f"{again[0]}; remove them first"
      )
  if np.isin(image_index, index.image_index).any():
    first = index.image_index.max() + 1
    image_index = first + np.arange(len(image_index))
    logging.info("New images are numbered from %d", first)
  return dataclasses.replace(
    index,
    header=index.header | {"sources": known},
    image_index=np.append(index.image_index, image_index),
    image_filename=np.append(index.image_filename, image_filename),
    source=np.append(index.source, source),
  )


def remove_images(
  path: str | os.PathLike, images: Sequence[int | str]
) -> ImageIndex:
  """Removes images from an index.

  The others are put in anew, without training: some kinds of FAISS's indices
  cannot remove, others number the rest in another way. What a kind has lost of
  their vectors stays lost.

  Args:
    path: The index.
    images: Their indices or names, or a single one.

  Raises:
    ImageIndexError: There is no such image or more than one, none would be
      left, or FAISS cannot add to such an index.
  """
  single = isinstance(images, str) or is_index(images)
  wanted: Sequence[Any] = [images] if single else images
  with changing(path):
    index = open_index(path, mapped=False)
    keep = np.ones(len(index), bool)
    for image in wanted:
      if str(image).isdigit():
        of = index.image_index == int(image)
      else:
        of = index.image_filename == str(image)
      if not of.any():
        raise ImageIndexError(f"{path}: there is no image {image!r} in it")
      if of.sum() > 1:
        indices = ", ".join(map(str, index.image_index[of]))
        raise ImageIndexError(
          f"{path}: several images are called {image!r}; name one by its "
          f"index: {indices}"
        )
      keep &= ~of
    if not keep.any():
      raise ImageIndexError(f"{path}: no image would be left")
    with faiss_errors(f"{path}: FAISS cannot remove from it"):
      vectors = index.vectors.reconstruct_n(0, len(index))[keep]
      index.vectors.reset()
      index.vectors.add(vectors)
    index.header.pop("made_of", None)
    index = dataclasses.replace(
      index,
      image_index=index.image_index[keep],
      image_filename=index.image_filename[keep],
      source=index.source[keep],
    )
    write_index(index)
    return index
