"""Scene graphs: objects with attributes, and who is right or in front of whom.

CLEVR keeps objects apart along both directions of the floor, so "right" and
"front" are total orders. A scene is then the attributes of its objects and
two permutations, and the distances of this package rely on it.
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Sequence

import numpy as np

from rn_jax.clevr import ATTRIBUTES
from rn_jax.data import records
from rn_jax.host.paths import place
from rn_jax.retrieval.image_indices import image_indices

ORDERS = ("right", "front")
# Scenes that one is compared with at a time: a kilobyte of work for each.
_BLOCK = 4096
_IDS = {
  name: {value: i for i, value in enumerate(values)}
  for name, values in ATTRIBUTES.items()
}


class SceneError(ValueError):
  """A scene, or a file of scenes, is unusable as scene graphs."""


@dataclasses.dataclass(frozen=True)
class SceneGraphs:
  """S scenes of up to M objects, in arrays; rows past an object count are -1.

  Attributes:
    attributes: int8 [S, M, 4], indices into the lists of
      `rn_jax.clevr.ATTRIBUTES`, in the order of its keys.
    ranks: int8 [S, M, 2], how many objects an object is right of and in front
      of: 0 is leftmost, or rearmost.
    num_objects: int64 [S].
    image_index: int64 [S], each once.
    image_filename: str [S].
  """

  attributes: np.ndarray
  ranks: np.ndarray
  num_objects: np.ndarray
  image_index: np.ndarray
  image_filename: np.ndarray

  def __len__(self) -> int:
    return len(self.num_objects)

  def __getitem__(self, chosen) -> "SceneGraphs":
    """Chooses scenes by a slice or an array, and keeps M."""
    return SceneGraphs(*(a[chosen] for a in self._arrays()))

  def _arrays(self) -> tuple[np.ndarray, ...]:
    return tuple(getattr(self, f.name) for f in dataclasses.fields(self))

  @functools.cached_property
  def blocks(self) -> list["SceneGraphs"]:
    """The scenes in their order, as many at a time as one is compared with."""
    starts = range(0, len(self), _BLOCK)
    return [self[start : start + _BLOCK] for start in starts]

  @functools.cached_property
  def num_neighbours(self) -> np.ndarray:
    """Counts what the relations of each object lead to.

    An edge leads from an object to each one it is right of or in front of.

    Returns:
      int8 [S, 3, M]: objects it is only right of, only in front of, and both.
    """
    exists = self.ranks[..., 0] >= 0
    pairs = exists[:, :, None] & exists[:, None]  # [S, M, M]
    right, front = (
      (ranks[:, :, None] > ranks[:, None]) & pairs
      for ranks in np.moveaxis(self.ranks, -1, 0)
    )
    both = right & front
    kinds = right & ~both, front & ~both, both
    return np.stack([k.sum(axis=-1, dtype=np.int8) for k in kinds], axis=1)

  def positions(self, wanted: Sequence[int] | np.ndarray) -> np.ndarray:
    """Finds scenes by their image indices.

    Raises:
      SceneError: There is no such scene.
      ValueError: An index is no whole number.
    """
    position = {index: i for i, index in enumerate(self.image_index.tolist())}
    wanted = image_indices(wanted)
    missing = [i for i in wanted if i not in position]
    if missing:
      raise SceneError(
        f"no scene of image {missing[0]} among {len(self)} scenes, which have "
        f"the images {self.image_index.min()} to {self.image_index.max()}"
      )
    return np.array([position[i] for i in wanted], np.int64)

  def sha256(self) -> str:
    """Returns a hash of the scenes, the same wherever they were read from."""
    digest = hashlib.sha256()
    for i, count in enumerate(self.num_objects.tolist()):
      digest.update(self.attributes[i, :count].tobytes())
      digest.update(self.ranks[i, :count].tobytes())
      digest.update(f"{count} {self.image_index[i]}".encode())
      digest.update(f" {self.image_filename[i]}\n".encode())
    return digest.hexdigest()


def load_scenes(
  scenes: str | os.PathLike | None = None,
  records_dir: str | os.PathLike | None = None,
  split: str = "val",
) -> SceneGraphs:
  """Reads scene graphs from a scenes file, or from a split of records.

  Raises:
    RecordError: The records are unusable.
    SceneError: The file or a scene is unusable, or not just one is named.
  """
  if scenes is not None and records_dir is None:
    return read_scene_graphs(scenes)
  if records_dir is not None and scenes is None:
    return read_records(records_dir, split)
  raise SceneError("name a scenes file or a records folder (one of the two)")


def read_scene_graphs(path: str | os.PathLike) -> SceneGraphs:
  """Reads a scenes file of CLEVR, or one generated here.

  Args:
    path: CLEVR_<split>_scenes.json.

  Raises:
    SceneError: The file is missing or broken, or a scene is unusable.
  """
  try:
    scenes = json.loads(place(path).read_bytes())["scenes"]
  except FileNotFoundError:
    raise SceneError(
      f"{path}: no such file; give scenes/CLEVR_<split>_scenes.json of a CLEVR "
      "folder (its test split has none)"
    ) from None
  except (ValueError, TypeError, KeyError, RecursionError) as error:
    raise SceneError(
      f"{path}: not a scenes file of CLEVR ({type(error).__name__}: {error}); "
      "download or generate it again"
    ) from None
  try:
    return scene_graphs(scenes)
  except SceneError as error:
    raise SceneError(f"{path}: {error}") from None


def read_records(records_dir: str | os.PathLike, split: str) -> SceneGraphs:
  """Reads the scenes of a split from a records folder.

  Raises:
    RecordError: The folder or a shard is unusable, or has objects that CLEVR
      does not have.
    SceneError: A scene is unusable.
  """
  words = records.read_vocabulary(records_dir)
  records.check_clevr(words, f"{records_dir}: scene graphs")
  scenes = (
    {**scene, "objects": _dictionaries(scene["objects"])}
    for scene in records.read_scenes(records_dir, split)
  )
  try:
    return scene_graphs(scenes)
  except SceneError as error:
    raise SceneError(f"{records_dir}, split {split}: {error}") from None


def _dictionaries(columns: dict[str, np.ndarray]) -> list[dict[str, str]]:
  """Turns a record's objects into those of a scenes file."""
  return [
    {name: ATTRIBUTES[name][i] for name, i in zip(_IDS, row, strict=True)}
    for row in zip(*(columns[name].tolist() for name in _IDS), strict=True)
  ]


def scene_graphs(scenes: Iterable[dict]) -> SceneGraphs:
  """Builds scene graphs from scenes in CLEVR's JSON layout.

  Args:
    scenes: Dictionaries with image_index, image_filename, objects (colour,
      material, shape and size by name) and relationships.

  Raises:
    SceneError: A scene has no objects, unknown attributes, or relations that
      are no total orders; or there are no scenes, or two of one image.
  """
  attributes, ranks, indices, names = [], [], [], []
  for number, scene in enumerate(scenes):
    try:
      name = scene["image_filename"]
      where = f"scene {number} ({name})"
      objects = scene["objects"]
      attributes.append([[_IDS[a][o[a]] for a in _IDS] for o in objects])
      relations = [scene["relationships"][order] for order in ORDERS]
      index = scene["image_index"]
      if type(index) is not int or not 0 <= index < 2**63:
        raise TypeError(f"image_index is {index!r}")
      if not isinstance(name, str):
        raise TypeError(f"image_filename is {name!r}")
      indices.append(index)
    except (KeyError, TypeError, AttributeError) as error:
      raise SceneError(
        f"scene {number}: objects, relationships or names are missing or not "
        f"those of CLEVR ({error!r})"
      ) from None
    if not objects:
      raise SceneError(
        f"{where} has no objects; its split comes without scene graphs"
      )
    columns = [
      _ranks(lists, len(objects), f"{where}, relation {order!r}")
      for order, lists in zip(ORDERS, relations, strict=True)
    ]
    ranks.append(np.stack(columns, axis=1))
    names.append(name)
  if not names:
    raise SceneError("there are no scenes")
  if len(set(indices)) < len(indices):
    twice = max(set(indices), key=indices.count)
    raise SceneError(f"several scenes are of image {twice}")
  num_objects = np.array([len(a) for a in attributes], np.int64)
  return SceneGraphs(
    _padded(attributes, num_objects),
    _padded(ranks, num_objects),
    num_objects,
    np.array(indices, np.int64),
    np.array(names, np.str_),
  )


def _ranks(lists: list[list[int]], count: int, where: str) -> np.ndarray:
  """Turns "b: those right of b" into ranks, [N]; checks that it is an order."""
  try:
    if len(lists) != count or count > 127:
      raise ValueError
    is_after = np.zeros((count, count), bool)  # [b, a]
    for b, after in enumerate(lists):
      # True would be an index, and a list of them a mask.
      if not all(type(a) is int and a >= 0 for a in after):
        raise ValueError
      if len(set(after)) < len(after):
        raise ValueError
      is_after[b, after] = True
    ranks = is_after.sum(axis=0)
    is_order = (is_after == (ranks > ranks[:, None])).all()
    if not is_order or len(set(ranks.tolist())) < count:
      raise ValueError
  except (ValueError, IndexError, TypeError):
    raise SceneError(
      f"{where}, does not put its {count} objects in one order, as CLEVR's "
      "scenes do; leave the scene out, or generate it with objects further "
      "apart"
    ) from None
  return ranks


def _padded(rows: Sequence, num_objects: np.ndarray) -> np.ndarray:
  width = len(rows[0][0])
  result = np.full((len(rows), num_objects.max(), width), -1, np.int8)
  for row, values in zip(result, rows, strict=True):
    row[: len(values)] = values
  return result
