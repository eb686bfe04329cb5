r"""Makes and changes indices, the databases that `query` searches.

    python -m rn_jax.retrieval.index --features=F.npz --descriptor=g2_avg \
        --output=INDEX
    python -m rn_jax.retrieval.index --output=INDEX --add=MORE.npz
    python -m rn_jax.retrieval.index --output=INDEX --remove=3,shop/7.png
    python -m rn_jax.retrieval.index --output=INDEX --merge=OTHER
    python -m rn_jax.retrieval.index --features=F0.npz,F1.npz --output=INDEX
    python -m rn_jax.retrieval.index --features=F.npz --descriptor=g2_avg \
        --output=INDEX --factory=IVF256,Flat --search=nprobe=16

An index holds vectors of one descriptor of one network. Search is exact unless
--factory names another kind of FAISS's indices, which pays only for hundreds
of thousands of images: https://github.com/facebookresearch/faiss/wiki
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
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
from rn_jax.retrieval.nearest.changes import (
  add_images,
  merge_index,
  remove_images,
  with_rows,
)
from rn_jax.retrieval.nearest.index_files import (
  LOCK,
  ImageIndex,
  exists,
  open_index,
  write_index,
)
from rn_jax.retrieval.nearest.search import make_index_of_parts, prepare

__all__ = ["add_images", "build_index", "merge_index", "remove_images"]

# Enough for the 4,096 lists of an index of millions.
_MOST_TO_TRAIN_WITH = 262_144


def build_index(
  features: Features | Sequence[str | os.PathLike],
  descriptor: str,
  output: str | os.PathLike,
  *,
  metric: str | None = None,
  factory: str = "Flat",
  search: str = "",
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
    factory: FAISS's name for the kind of index; "Flat" is exact. Kinds that
      need training are trained on the images, or 262,144 spread over them.
    search: FAISS's parameters of its search, as "nprobe=16"; kept in the index.
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
  planned, sample = _plan(loaders, descriptor, folder, metric, factory, search)

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
    planned, vectors=make_index_of_parts(vectors, sample, factory, search)
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
) -> tuple[ImageIndex, np.ndarray]:
  """Returns an index but for its vectors, and vectors to train it with."""
  index, samples, digest = None, [], hashlib.sha256()
  for load in loaders:
    features = load()
    vectors = features.descriptor(descriptor)
    if index is None:
      about = features.about(descriptor)
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
    samples.append(vectors[:: -(-len(vectors) // most)])
  if index is None:
    raise ValueError("name at least one features file")
  # So that the same call again need not train; a change takes it away.
  index.header["made_of"] = {"search": search, "sha256": digest.hexdigest()}
  sample = samples[0] if len(samples) == 1 else np.concatenate(samples)
  return index, sample


def _names(file: str) -> list[str]:
  return list(load_features(file).descriptors)


def _main(
  output: str,
  features: list[str],
  descriptor: str | None,
  add: str | None,
  merge: str | None,
  remove: list[str],
  **how,
) -> None:
  if sum(map(bool, (features, add, merge, remove))) != 1:
    raise app.UsageError(
      "one of --features, --add, --merge and --remove is needed"
    )
  if features:
    names = [descriptor] if descriptor else _names(features[0])
    if len(names) > 1:
      raise app.UsageError(f"--descriptor is needed: one of {names}")
    index = build_index(features, names[0], output, **how)
  elif add:
    index = add_images(output, load_features(add))
  elif merge:
    index = merge_index(output, merge)
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
    cli.paths_flag(
      "features", [], "Features files to make it of, with commas between them."
    ),
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
    cli.path_flag(
      "merge", None, "Index of the same descriptor whose images to add."
    ),
    flags.DEFINE_list(
      "remove", [], "Images to remove from the index: indices or names."
    ),
    flags.DEFINE_bool("overwrite", False, "Replace an index that is there."),
  )
