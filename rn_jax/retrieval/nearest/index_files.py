"""What an index looks like on disk.

A folder with `index.json`, which names three .npy files: the vectors as they
are searched, float32 [N, D], and the images' indices and names; with the
usearch backend also its graph. They are memory-mapped. Every change writes new
files beside the old ones and then replaces index.json, so an interrupted change
leaves the index as it was.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from rn_jax.host.atomic import replacing
from rn_jax.run_log import write_json

FORMAT_VERSION = 1
HEADER = "index.json"
ARRAYS = ("vectors", "image_index", "image_filename", "source")


class ImageIndexError(ValueError):
  """An index is absent, damaged, or not the one that a query needs."""


class Rows:
  """The rows of a .npy file, mapped only while some of them are copied.

  Pages of a mapping that stays open would count as the program's memory.
  """

  def __init__(self, path: Path):
    self._path = path
    self.shape = self._open().shape

  def _open(self) -> np.ndarray:
    return np.lib.format.open_memmap(self._path, mode="r")

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, rows) -> np.ndarray:
    return np.array(self._open()[rows])


@dataclasses.dataclass(frozen=True)
class ImageIndex:
  """An index on disk.

  Attributes:
    folder: Where it is.
    header: `metric`, `backend`, `descriptor` (its name and metadata),
      `network`, `preprocessing`, `sources`, `center` ([D], the mean of the
      vectors), `generation` (the number in the files' names).
    vectors: [N, D] float32; of unit length where the metric is "cosine".
    image_index: [N] int64, unique.
    image_filename: [N] str.
    source: [N] int64, the place in header["sources"].
  """

  folder: Path
  header: dict
  vectors: Rows
  image_index: np.ndarray
  image_filename: Rows
  source: Rows

  def __len__(self) -> int:
    return len(self.image_index)

  @property
  def graph_path(self) -> Path:
    """The file of the usearch backend."""
    return array_path(self.folder, "graph", self.header["generation"])

  @property
  def center(self) -> np.ndarray:
    return np.array(self.header["center"], np.float32)


def array_path(folder: Path, name: str, generation: int) -> Path:
  suffix = "usearch" if name == "graph" else "npy"
  return folder / f"{name}-{generation}.{suffix}"


def open_index(path: str | os.PathLike) -> ImageIndex:
  """Opens an index.

  Raises:
    ImageIndexError: There is none, or it is damaged or of another version.
  """
  folder = Path(path)
  try:
    header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
    version = header["format_version"]
  except FileNotFoundError as error:
    raise ImageIndexError(
      f"{path}: no index here; make one with python -m rn_jax.retrieval.index"
    ) from error
  except (ValueError, TypeError, KeyError, OSError) as error:
    raise ImageIndexError(
      f"{folder / HEADER}: unreadable ({error!r}); make the index again"
    ) from error
  if version != FORMAT_VERSION:
    raise ImageIndexError(
      f"{path}: format version {version}, this program reads {FORMAT_VERSION}"
    )
  try:
    rows = {
      name: Rows(array_path(folder, name, header["generation"]))
      for name in ARRAYS
    }
    index = ImageIndex(
      folder, header, **{**rows, "image_index": rows["image_index"][:]}
    )
    count = header["num_images"]
    sound = rows["vectors"].shape == (count, len(header["center"])) and all(
      rows[name].shape == (count,) for name in ARRAYS[1:]
    )
  except (ValueError, TypeError, KeyError, OSError, EOFError) as error:
    raise ImageIndexError(
      f"{path}: damaged ({error}); make the index again"
    ) from error
  if not sound:
    raise ImageIndexError(
      f"{path}: its files do not belong together; make the index again"
    )
  return index


def write_index(
  folder: Path,
  header: dict,
  blocks: Iterable[np.ndarray],
  image_index: np.ndarray,
  image_filename: np.ndarray,
  source: np.ndarray,
  write_graph: Callable[[Rows, Path], None] | None = None,
) -> ImageIndex:
  """Writes the next generation of an index and removes the one before.

  Args:
    folder: Made if need be.
    header: Without what is filled in here: format_version, generation,
      num_images and center.
    blocks: The vectors, prepared, in blocks of rows [n, D].
    image_index: [N] int64.
    image_filename: [N] str.
    source: [N] int64.
    write_graph: (vectors, path); makes the file of the usearch backend.

  Returns:
    The index, opened.
  """
  folder.mkdir(parents=True, exist_ok=True)
  generation = header.get("generation", 0) + 1
  total, mean = 0, 0.0
  count = len(image_index)
  with replacing(array_path(folder, "vectors", generation)) as temporary:
    vectors = None
    for block in blocks:
      if vectors is None:
        vectors = np.lib.format.open_memmap(
          temporary, "w+", np.float32, (count, block.shape[1])
        )
      vectors[total : total + len(block)] = block
      mean = mean + block.sum(0, dtype=np.float64) / count
      total += len(block)
    if total != count:
      raise AssertionError(f"{total} vectors of {count} images")
    vectors.flush()
    del vectors
  arrays = zip(ARRAYS[1:], (image_index, image_filename, source), strict=True)
  for name, array in arrays:
    with (
      replacing(array_path(folder, name, generation)) as temporary,
      open(temporary, "wb") as file,
    ):
      np.save(file, array, allow_pickle=False)
  if write_graph is not None:
    with replacing(array_path(folder, "graph", generation)) as temporary:
      write_graph(Rows(array_path(folder, "vectors", generation)), temporary)
  header = header | {
    "format_version": FORMAT_VERSION,
    "generation": generation,
    "num_images": count,
    "center": [float(x) for x in mean],
  }
  write_json(folder / HEADER, header)
  for name in (*ARRAYS, "graph"):
    array_path(folder, name, generation - 1).unlink(missing_ok=True)
  return open_index(folder)


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
  preprocessing = metadata.get("preprocessing")
  if index.header["preprocessing"] != preprocessing:
    raise ImageIndexError(
      f"{index.folder} was made of images prepared in another way: "
      f"{index.header['preprocessing']}, not {preprocessing}"
    )


def check_dimension(index: ImageIndex, vectors: np.ndarray) -> None:
  """Raises ImageIndexError unless vectors [N, D] are as long as the index's."""
  mine, theirs = index.vectors.shape[1], vectors.shape[-1]
  if mine != theirs:
    raise ImageIndexError(
      f"{index.folder} holds vectors of {mine} numbers, not of {theirs}"
    )
