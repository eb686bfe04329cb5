r"""Makes and changes indices, the databases that `query` searches.

    python -m rn_jax.retrieval.index --features=F.npz --descriptor=g2_avg \
        --output=INDEX
    python -m rn_jax.retrieval.index --output=INDEX --add=MORE.npz
    python -m rn_jax.retrieval.index --output=INDEX --remove=3,shop/7.png
    python -m rn_jax.retrieval.index --features=F.npz --descriptor=g2_avg \
        --output=INDEX --factory=IVF256,Flat --search=nprobe=16

An index holds vectors of one descriptor of one network. Search is exact unless
--factory names another kind of FAISS's indices, which pays only for hundreds
of thousands of images: https://github.com/facebookresearch/faiss/wiki
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags, logging

from rn_jax.host import cli
from rn_jax.host.exclusive import exclusive
from rn_jax.host.paths import local_path
from rn_jax.retrieval.describe.features import (
  METRICS,
  Features,
  load_features,
)
from rn_jax.retrieval.image_indices import is_index
from rn_jax.retrieval.nearest.index_files import (
  LOCK,
  ImageIndex,
  ImageIndexError,
  changing,
  check_dimension,
  check_fits,
  exists,
  open_index,
  write_index,
)
from rn_jax.retrieval.nearest.search import faiss_errors, make_index, prepare


def build_index(
  features: Features,
  descriptor: str,
  output: str | os.PathLike,
  *,
  metric: str | None = None,
  factory: str = "Flat",
  search: str = "",
  overwrite: bool = False,
) -> ImageIndex:
  """Makes an index of the images of a features file.

  The same call again, as after an interruption, finds the index made and leaves
  it as it is.

  Args:
    features: The images.
    descriptor: Name of the descriptor.
    output: Folder to write.
    metric: "euclidean" or "cosine"; None: what the features file says.
    factory: FAISS's name for the kind of index; "Flat" is exact. Kinds that
      need training are trained on the images.
    search: FAISS's parameters of its search, as "nprobe=16"; kept in the index.
    overwrite: Replace an index that is there.

  Raises:
    ValueError: An argument makes no sense, or there are too few images to train
      such an index.
    FeaturesError: There is no such descriptor.
    FileExistsError: There is another index.
    ImageIndexError: There is an index, and it is damaged.
    BusyError: Another run writes to the folder, also of the functions below.
  """
  folder = Path(local_path(output))
  about = features.about(descriptor)
  metric = metric or about.get("metric", "euclidean")
  vectors = prepare(features.descriptor(descriptor), metric)
  header = {
    "metric": metric,
    "factory": factory,
    "descriptor": {"name": descriptor, **about},
    "network": features.metadata.get("network"),
    "preprocessing": features.metadata.get("preprocessing"),
    "sources": [features.metadata.get("source", {})],
    # So that the same call again need not train; a change takes it away.
    "made_of": {
      "search": search,
      "sha256": hashlib.sha256(vectors.data).hexdigest(),
    },
  }

  def made_before() -> ImageIndex | None:
    if overwrite or not exists(folder):
      return None
    there = open_index(folder)
    if not (
      there.header == json.loads(json.dumps(header))
      and np.array_equal(there.image_index, features.image_index)
      and np.array_equal(there.image_filename, features.image_filename)
    ):
      raise FileExistsError(
        f"{folder} holds another index already; add to it, choose another "
        "folder, or pass overwrite"
      )
    logging.warning("%s is whole and made of the same; left as it is", folder)
    return there

  if there := made_before():  # before the work, and again after it
    return there
  index = ImageIndex(
    folder,
    header,
    make_index(vectors, factory, search),
    features.image_index,
    features.image_filename,
    np.zeros(len(features), np.int64),
  )
  with exclusive(folder / LOCK):
    if there := made_before():
      return there
    write_index(index)
  return index


def add_images(path: str | os.PathLike, features: Features) -> ImageIndex:
  """Adds the images of a features file to an index.

  Indices that are taken already are counted on from the largest one.

  Raises:
    ImageIndexError: The features are of another network or descriptor, an image
      is there already, or FAISS cannot add to such an index.
  """
  with changing(path):
    index = open_index(path, mapped=False)
    name = index.header["descriptor"]["name"]
    check_fits(index, features.metadata, name)
    vectors = features.descriptor(name)
    check_dimension(index, vectors)
    source = features.metadata.get("source", {})
    sources = list(index.header["sources"])
    if source not in sources:
      sources.append(source)
    place = sources.index(source)
    known = index.image_filename[index.source == place]
    again = np.intersect1d(known, features.image_filename)
    if len(again):
      raise ImageIndexError(
        f"{path} holds {len(again)} of these images already, as {again[0]}; "
        "remove them first"
      )
    image_index = features.image_index
    if np.isin(image_index, index.image_index).any():
      first = index.image_index.max() + 1
      image_index = first + np.arange(len(image_index))
      logging.info("New images are numbered from %d", first)
    with faiss_errors(f"{path}: FAISS cannot add to it"):
      index.vectors.add(prepare(vectors, index.header["metric"]))
    index = dataclasses.replace(
      index,
      header=_changed(index.header) | {"sources": sources},
      image_index=np.append(index.image_index, image_index),
      image_filename=np.append(index.image_filename, features.image_filename),
      source=np.append(index.source, np.full(len(features), place)),
    )
    write_index(index)
    return index


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
    ImageIndexError: There is no such image, none would be left, or FAISS cannot
      add to such an index.
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
      keep &= ~of
    if not keep.any():
      raise ImageIndexError(f"{path}: no image would be left")
    with faiss_errors(f"{path}: FAISS cannot remove from it"):
      vectors = index.vectors.reconstruct_n(0, len(index))[keep]
      index.vectors.reset()
      index.vectors.add(vectors)
    index = dataclasses.replace(
      index,
      header=_changed(index.header),
      image_index=index.image_index[keep],
      image_filename=index.image_filename[keep],
      source=index.source[keep],
    )
    write_index(index)
    return index


def _changed(header: dict) -> dict:
  """Returns the header of an index that is no longer as it was made."""
  return {key: value for key, value in header.items() if key != "made_of"}


def _main(
  output: str,
  features: str | None,
  descriptor: str | None,
  add: str | None,
  remove: list[str],
  **how,
) -> None:
  if sum(map(bool, (features, add, remove))) != 1:
    raise app.UsageError("one of --features, --add and --remove is needed")
  if features:
    loaded = load_features(features)
    names = list(loaded.descriptors)
    if not descriptor and len(names) > 1:
      raise app.UsageError(f"--descriptor is needed: one of {names}")
    index = build_index(loaded, descriptor or names[0], output, **how)
  elif add:
    index = add_images(output, load_features(add))
  else:
    index = remove_images(output, remove)
  header = index.header
  print(
    f"{output}: {len(index):,} images, {index.vectors.d} numbers each, "
    f"{header['descriptor']['name']}, {header['metric']}, {header['factory']}"
  )


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag("output", None, "Folder of the index.", required=True),
    cli.path_flag("features", None, "Features file to make it of."),
    flags.DEFINE_string(
      "descriptor",
      None,
      "Name of the descriptor; not given: the only one of the features file.",
    ),
    flags.DEFINE_enum(
      "metric",
      None,
      METRICS,
      "How images are compared; not given: as is usual for the descriptor.",
    ),
    flags.DEFINE_string(
      "factory",
      "Flat",
      "FAISS's name for the kind of index. Flat is exact; for large databases "
      "IVF256,Flat or HNSW32 or, compressed, IVF256,PQ16.",
    ),
    flags.DEFINE_string(
      "search",
      "",
      "FAISS's search parameters, as nprobe=16 (how many of IVF's lists are "
      "searched; by default one) or efSearch=64 (for HNSW; by default 16).",
    ),
    cli.path_flag("add", None, "Features file to add to the index."),
    flags.DEFINE_list(
      "remove", [], "Images to remove from the index: indices or names."
    ),
    flags.DEFINE_bool("overwrite", False, "Replace an index that is there."),
  )
