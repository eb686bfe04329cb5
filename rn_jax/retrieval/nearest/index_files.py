"""What an index looks like on disk.

A folder with two files: the vectors as FAISS writes them, named by their hash,
and `index.npz`, which says whose they are: names, numbers and origin of the
images, the network, and the hash. Row i of the vectors is image i. Every change
writes new vectors beside the old ones and then replaces `index.npz`, so an
interrupted change leaves the index as it was.

FAISS reads only what has the hash that was written down, as it is not made for
damaged files. That does not protect from someone who made up both files: take
an index only from those whose programs you would run, or their features file,
which is safe, and make the index yourself.
"""

import contextlib
import dataclasses
import hashlib
import os
import re
from pathlib import Path

import faiss
import numpy as np

from rn_jax.host.atomic import clear, replacing
from rn_jax.host.exclusive import exclusive
from rn_jax.host.paths import local_path
from rn_jax.retrieval.describe.archive import read_archive, write_archive
from rn_jax.retrieval.nearest.search import faiss_errors

FORMAT_VERSION = 2  # 1: a folder of .npy files and index.json
LOCK = ".lock"  # held by whoever writes to the folder
_SIDECAR = "index.npz"
_OLD_SIDECAR = "index.json"
_VECTORS = re.compile(r"vectors-[0-9a-f]{16}\.faiss")
# What the first version wrote beside its index.json.
_OLD = ("vectors-*.npy", "image_*-*.npy", "source-*.npy", "graph-*.usearch")


class ImageIndexError(ValueError):
  """An index is absent, damaged, or not the one that a query needs."""


@dataclasses.dataclass(frozen=True)
class ImageIndex:
  """An index.

  Attributes:
    folder: Where it is.
    header: `metric`, `factory` (FAISS's name for the kind of index),
      `descriptor` (its name and metadata), `network`, `preprocessing`,
      `sources`; and `made_of` unless it was changed since.
    vectors: N of D numbers; of unit length where the metric is "cosine".
    image_index: [N] int64, unique.
    image_filename: [N] str.
    source: [N] int64, the place in header["sources"].
  """

  folder: Path
  header: dict
  vectors: faiss.Index
  image_index: np.ndarray
  image_filename: np.ndarray
  source: np.ndarray

  def __len__(self) -> int:
    return len(self.image_index)


def exists(folder: Path) -> bool:
  """Returns whether a folder holds an index, of whatever version."""
  return any((folder / name).exists() for name in (_SIDECAR, _OLD_SIDECAR))


def changing(
  path: str | os.PathLike,
) -> contextlib.AbstractContextManager[None]:
  """Keeps others from changing an index, from its reading to its writing."""
  folder = Path(local_path(path))
  # Where there is none, open_index says so.
  return (
    exclusive(folder / LOCK) if exists(folder) else contextlib.nullcontext()
  )


def open_index(path: str | os.PathLike, *, mapped: bool = True) -> ImageIndex:
  """Opens an index.

  Args:
    path: Its folder.
    mapped: Leave the vectors on disk, mapped into memory; they cannot be
      changed then.

  Raises:
    ImageIndexError: There is none, or it is damaged or of another version.
    PermissionError: It may not be read.
  """
  folder = Path(local_path(path))
  if not exists(folder):
    raise ImageIndexError(
      f"{path}: no index here; make one with python -m rn_jax.retrieval.index"
    )
  while True:
    now = _when_written(folder)
    try:
      return _read(folder, mapped)
    except PermissionError:
      raise
    except (ValueError, KeyError, TypeError, OSError) as error:
      if _when_written(folder) != now:
        continue  # somebody changed it meanwhile
      raise ImageIndexError(
        f"{path}: unreadable ({error}); make it anew: python -m "
        "rn_jax.retrieval.index --features=FEATURES.npz --descriptor=NAME "
        f"--output={path} --overwrite"
      ) from error


def _when_written(folder: Path) -> tuple[int, int] | None:
  try:
    status = (folder / _SIDECAR).stat()
  except FileNotFoundError:
    return None
  return status.st_mtime_ns, status.st_ino


def _read(folder: Path, mapped: bool) -> ImageIndex:
  if not (folder / _SIDECAR).exists():
    raise ValueError("an earlier version wrote it")
  arrays, header = read_archive(folder / _SIDECAR)
  version = header.pop("format_version")
  if version != FORMAT_VERSION:
    raise ValueError(
      f"format version {version}, this program reads {FORMAT_VERSION}"
    )
  digest = header.pop("sha256")
  file = folder / _vectors_name(digest)
  if _sha256(file) != digest:
    raise ValueError(f"{file.name} is damaged, or of another index")
  with faiss_errors(file.name):
    if mapped:
      vectors = _mapped(file, header["factory"])
    else:
      vectors = faiss.read_index(str(file))
  index = ImageIndex(folder, header, vectors, **arrays)
  if {vectors.ntotal} != {len(array) for array in arrays.values()}:
    raise ValueError("its files do not fit together")
  return index


def write_index(index: ImageIndex) -> None:
  """Writes an index, whole or not at all, in place of one that is there."""
  index.folder.mkdir(parents=True, exist_ok=True)
  unnamed = index.folder / _vectors_name("0" * 16)
  with replacing(unnamed) as temporary:
    with open(temporary, "wb") as file, faiss_errors(str(index.folder)):
      # FAISS's own files end silently short where a disk gets full.
      writer = faiss.PyCallbackIOWriter(file.write)  # pyright: ignore[reportAttributeAccessIssue]
      faiss.write_index(index.vectors, writer)
    digest = _sha256(temporary)
  name = _vectors_name(digest)
  os.replace(unnamed, index.folder / name)
  write_archive(
    index.folder / _SIDECAR,
    {"format_version": FORMAT_VERSION, "sha256": digest, **index.header},
    {
      "image_index": index.image_index,
      "image_filename": index.image_filename,
      "source": index.source,
    },
  )
  # What that makes superfluous; the folder may have files of others, too.
  for path in index.folder.iterdir():
    if _VECTORS.fullmatch(path.name) and path.name != name:
      path.unlink()
  if (index.folder / _OLD_SIDECAR).exists():
    for pattern in _OLD:
      for path in index.folder.glob(pattern):
        path.unlink()
    (index.folder / _OLD_SIDECAR).unlink()
  clear(index.folder)


def check_fits(index: ImageIndex, metadata: dict, name: str) -> None:
  """Checks that vectors may be compared with those of an index.

  Args:
    index: The index.
    metadata: Of the features, see Features.
    name: Of the descriptor.

  Raises:
    ImageIndexError: They are of another descriptor, network or preprocessing.
  """
  mine = index.header["descriptor"]
  theirs = {"name": name, **metadata.get("descriptors", {}).get(name, {})}
  if mine != theirs:
    raise ImageIndexError(
      f"{index.folder} holds the descriptor {mine['name']!r} "
      f"({mine.get('label', 'imported')}), not {name!r} "
      f"({theirs.get('label', 'imported')})"
    )
  networks = [
    (network or {}).get("checkpoint_sha256")
    for network in (index.header["network"], metadata.get("network"))
  ]
  if networks[0] != networks[1]:
    checkpoint = (index.header["network"] or {}).get("checkpoint")
    raise ImageIndexError(
      f"{index.folder} was made with another network: {checkpoint}, whose "
      f"weights hash to {str(networks[0])[:12]}, not {str(networks[1])[:12]}"
    )
  settings = [
    (network or {}).get("overrides", {})
    for network in (index.header["network"], metadata.get("network"))
  ]
  if settings[0] != settings[1]:
    raise ImageIndexError(
      f"{index.folder} was made with other settings of the network: "
      f"{settings[0] or 'its own'}, not {settings[1] or 'its own'}"
    )
  preprocessing = metadata.get("preprocessing")
  if index.header["preprocessing"] != preprocessing:
    raise ImageIndexError(
      f"{index.folder} was made of images prepared in another way: "
      f"{index.header['preprocessing']}, not {preprocessing}"
    )


def check_dimension(index: ImageIndex, vectors: np.ndarray) -> None:
  """Raises ImageIndexError unless vectors [N, D] are as long as the index's."""
  mine, theirs = index.vectors.d, vectors.shape[-1]
  if mine != theirs:
    raise ImageIndexError(
      f"{index.folder} holds vectors of {mine} numbers, not of {theirs}"
    )


def _mapped(file: Path, factory: str) -> faiss.Index:
  """Maps vectors into memory; FAISS has one flag for lists, one for others."""
  if not any(kind in factory for kind in ("IVF", "IMI")):
    return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
  vectors = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
  lists = faiss.extract_index_ivf(vectors).invlists
  lists = lists and faiss.downcast_InvertedLists(lists)
  if isinstance(lists, faiss.OnDiskInvertedLists):
    # 32 threads a query, for disks: the file was read for its hash just now.
    lists.prefetch_nthread = 0
  return vectors


def _vectors_name(digest: str) -> str:
  return f"vectors-{digest[:16]}.faiss"


def _sha256(path: Path) -> str:
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
