"""Makes and changes indices, the databases that `query` searches.

    python -m rn_jax.retrieval.index --features=F.npz --descriptor=g2_avg \
        --output=INDEX
    python -m rn_jax.retrieval.index --output=INDEX --add=MORE.npz
    python -m rn_jax.retrieval.index --output=INDEX --remove=3,shop/7.png

Search is exact unless --backend=usearch is asked for, which pays only for
hundreds of thousands of images. An index holds vectors of one descriptor of one
network.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags, logging

from rn_jax.retrieval.describe.features import Features, load_features
from rn_jax.retrieval.nearest.graph import write_graph
from rn_jax.retrieval.nearest.index_files import (
  HEADER,
  ImageIndex,
  ImageIndexError,
  check_dimension,
  check_fits,
  open_index,
  write_index,
)
from rn_jax.retrieval.nearest.search import METRICS, prepare

BACKENDS = ("exact", "usearch")
# Vectors copied at a time when an index changes.
_ROWS = 1 << 14


def build_index(
  features: Features,
  descriptor: str,
  output: str | os.PathLike,
  *,
  metric: str | None = None,
  backend: str = "exact",
  overwrite: bool = False,
) -> ImageIndex:
  """Makes an index of the images of a features file.

  Args:
    features: The images.
    descriptor: Name of the descriptor.
    output: Folder to write.
    metric: "euclidean" or "cosine"; None: what the features file says.
    backend: "exact", or "usearch" for approximate search.
    overwrite: Replace an index that is there.

  Raises:
    ValueError: An argument makes no sense.
    FeaturesError: There is no such descriptor.
    FileExistsError: There is an index.
  """
  if backend not in BACKENDS:
    raise ValueError(f"backend is {backend!r}, not one of {BACKENDS}")
  vectors = features.descriptor(descriptor)
  about = features.about(descriptor)
  metric = metric or about.get("metric", "euclidean")
  folder = Path(output)
  header = {
    "metric": metric,
    "backend": backend,
    "descriptor": {"name": descriptor, **about},
    "network": features.metadata.get("network"),
    "preprocessing": features.metadata.get("preprocessing"),
    "sources": [features.metadata.get("source", {})],
  }
  if (folder / HEADER).exists():
    if not overwrite:
      raise FileExistsError(
        f"{output} holds an index already; add to it, choose another folder, "
        "or pass overwrite"
      )
    header["generation"] = open_index(folder).header["generation"]
  return _write(
    folder,
    header,
    _prepared(vectors, metric),
    features.image_index,
    features.image_filename,
    np.zeros(len(features), np.int64),
  )


def add_images(path: str | os.PathLike, features: Features) -> ImageIndex:
  """Adds the images of a features file to an index.

  Indices that are taken already are counted on from the largest one.

  Raises:
    ImageIndexError: The features are of another network or descriptor, or an
      image is there already.
  """
  index = open_index(path)
  name = index.header["descriptor"]["name"]
  check_fits(index, features.metadata, name)
  vectors = features.descriptor(name)
  check_dimension(index, vectors)
  header = dict(index.header)
  source = features.metadata.get("source", {})
  header["sources"] = sources = list(header["sources"])
  if source not in sources:
    sources.append(source)
  place = sources.index(source)
  known = index.image_filename[index.source[:] == place]
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
  return _write(
    index.folder,
    header,
    itertools.chain(_blocks(index), _prepared(vectors, header["metric"])),
    np.concatenate([index.image_index, image_index]),
    np.concatenate([index.image_filename[:], features.image_filename]),
    np.concatenate([index.source[:], np.full(len(features), place)]),
  )


def remove_images(
  path: str | os.PathLike, images: Sequence[int | str]
) -> ImageIndex:
  """Removes images from an index.

  Args:
    path: The index.
    images: Their indices or names.

  Raises:
    ImageIndexError: There is no such image, or none would be left.
  """
  index = open_index(path)
  names = index.image_filename[:]
  keep = np.ones(len(index), bool)
  for image in images:
    number = str(image).isdigit()
    of = index.image_index == int(image) if number else names == image
    if not of.any():
      raise ImageIndexError(f"{path}: there is no image {image!r} in it")
    keep &= ~of
  if not keep.any():
    raise ImageIndexError(f"{path}: no image would be left")
  return _write(
    index.folder,
    index.header,
    _blocks(index, keep),
    index.image_index[keep],
    names[keep],
    index.source[:][keep],
  )


def _write(folder: Path, header: dict, *arrays) -> ImageIndex:
  graph = write_graph if header["backend"] == "usearch" else None
  return write_index(folder, header, *arrays, write_graph=graph)


def _prepared(vectors: np.ndarray, metric: str) -> Iterator[np.ndarray]:
  for start in range(0, len(vectors), _ROWS):
    yield prepare(vectors[start : start + _ROWS], metric)


def _blocks(
  index: ImageIndex, keep: np.ndarray | None = None
) -> Iterator[np.ndarray]:
  for start in range(0, len(index), _ROWS):
    block = index.vectors[start : start + _ROWS]
    yield block if keep is None else block[keep[start : start + _ROWS]]


def _define_flags() -> dict[str, flags.FlagHolder]:
  """Defines the flags; only when run as a program."""
  holders = [
    flags.DEFINE_string("output", None, "Folder of the index.", required=True),
    flags.DEFINE_string("features", None, "Features file to make it of."),
    flags.DEFINE_string("descriptor", None, "Name of the descriptor."),
    flags.DEFINE_enum(
      "metric",
      None,
      METRICS,
      "How images are compared; not given: as is usual for the descriptor.",
    ),
    flags.DEFINE_enum(
      "backend", "exact", BACKENDS, "usearch: approximate, for large databases."
    ),
    flags.DEFINE_string("add", None, "Features file to add to the index."),
    flags.DEFINE_list(
      "remove", [], "Images to remove from the index: indices or names."
    ),
    flags.DEFINE_bool("overwrite", False, "Replace an index that is there."),
  ]
  return {holder.name: holder for holder in holders}


def _main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments {argv[1:]}")
  given = {name: flag.value for name, flag in _FLAGS.items()}
  output = given["output"]
  if sum(map(bool, (given["features"], given["add"], given["remove"]))) != 1:
    raise app.UsageError("one of --features, --add and --remove is needed")
  try:
    if given["add"]:
      index = add_images(output, load_features(given["add"]))
    elif given["remove"]:
      index = remove_images(output, given["remove"])
    else:
      features = load_features(given["features"])
      names = list(features.descriptors)
      if not given["descriptor"] and len(names) > 1:
        raise app.UsageError(f"--descriptor is needed: one of {names}")
      index = build_index(
        features,
        given["descriptor"] or names[0],
        output,
        metric=given["metric"],
        backend=given["backend"],
        overwrite=given["overwrite"],
      )
  except (ValueError, OSError) as error:
    raise SystemExit(f"error: {error}") from error
  count, dimension = index.vectors.shape
  header = index.header
  print(
    f"{output}: {count:,} images, {dimension} numbers each, "
    f"{header['descriptor']['name']}, {header['metric']}, {header['backend']}"
  )


if __name__ == "__main__":
  _FLAGS = _define_flags()
  app.run(_main)
