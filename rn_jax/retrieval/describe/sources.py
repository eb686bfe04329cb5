"""Where scenes to describe come from: a split of records, or image files."""

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Sequence
from concurrent import futures

import ml_collections
import numpy as np

from rn_jax.data import records
from rn_jax.data.decode import decode_image
from rn_jax.data.image_files import find_image_files
from rn_jax.data.images import read_image
from rn_jax.data.states import read_states, state_arrays
from rn_jax.host.paths import absolute


@dataclasses.dataclass(frozen=True)
class Scenes:
  """Consecutive scenes of a source.

  Attributes:
    arrays: `image` [S, H, W, 3] uint8, or `objects` [S, N, 7] float32 and
      `object_mask` [S, N] bool, with `boxes` [S, N, 4] if they are read.
    image_index: [S] int64.
    image_filename: [S] str.
    skipped: What could not be read and why, a text each.
  """

  arrays: dict[str, np.ndarray]
  image_index: np.ndarray
  image_filename: np.ndarray
  skipped: list[str]


@dataclasses.dataclass(frozen=True)
class Source:
  """Scenes in a fixed order.

  Attributes:
    size: How many.
    description: JSON values for the metadata.
    sha256: Changes with the scenes (of image files: with their names, sizes
      and times).
    read: (start, stop) -> Scenes; fastest in order, by one thread.
  """

  size: int
  description: dict
  sha256: str
  read: Callable[[int, int], Scenes]


def split_source(
  data: ml_collections.ConfigDict, inputs: str, split: str
) -> Source:
  """Opens a split of a records folder.

  Args:
    data: The `data` part of a config.
    inputs: "pixels" or "states".
    split: Name of the split.

  Raises:
    RecordError: The folder is unusable; or, when read, a shard is, or does not
      hold what the network reads.
    ValueError: No folder is named.
  """
  if not data.dir:
    raise ValueError(
      "name what to describe: --config.data.dir=RECORDS, made by "
      "`python -m data_prep.convert_clevr`, or --images=FOLDER"
    )
  entry = records.read_split(data.dir, split)
  stream, position = records.read_scenes(data.dir, split), 0

  def read(start: int, stop: int) -> Scenes:
    nonlocal stream, position
    if start != position:
      stream = records.read_scenes(data.dir, split, start=start)
    # The whole stream, where it ends, also checks that nothing is missing.
    count = stop - start if stop < entry["num_scenes"] else None
    found = list(itertools.islice(stream, count))
    position = stop
    place = f"{data.dir}: {split}"
    if inputs == "pixels":
      side = data.image_size
      images = np.empty((len(found), side, side, 3), np.uint8)
      with futures.ThreadPoolExecutor() as pool:
        encoded = (scene["image"] for scene in found)
        wheres = (f"{place} scene {x['image_filename']}" for x in found)
        list(pool.map(decode_image, encoded, images, wheres))
      arrays = {"image": images}
    else:
      rows = [read_states(scene, data, place) for scene in found]
      arrays = state_arrays(np.stack(rows))
    return Scenes(
      arrays,
      np.array([scene["image_index"] for scene in found], np.int64),
      np.array([scene["image_filename"] for scene in found]),
      [],
    )

  hashes = "".join(shard["sha256"] for shard in entry["shards"])
  return Source(
    entry["num_scenes"],
    {"records": absolute(data.dir), "split": split},
    hashlib.sha256(hashes.encode()).hexdigest(),
    read,
  )


def image_source(arguments: Sequence[str], image_size: int) -> Source:
  """Opens image files.

  Args:
    arguments: Files and folders; see find_image_files. What cannot be read of
      a folder is skipped; a file that was named itself is an error.
    image_size: Side of the images the network reads.

  Returns:
    The source. image_filename is relative to the folder that all arguments lie
    in, image_index the position in the order, skipped ones included.

  Raises:
    ValueError: There are no images; or, when read, a named file is none.
    OSError: There is no such file or folder.
  """
  paths, names, named, root = find_image_files(arguments)

  def read_one(path: str) -> np.ndarray | str:
    try:
      return read_image(path, image_size)
    except (ValueError, OSError) as error:
      if path in named:
        raise
      return str(error)

  def read(start: int, stop: int) -> Scenes:
    with futures.ThreadPoolExecutor() as pool:
      found = list(pool.map(read_one, paths[start:stop]))
    good = [i for i, image in enumerate(found) if not isinstance(image, str)]
    images = np.empty((len(good), image_size, image_size, 3), np.uint8)
    for row, i in enumerate(good):
      images[row] = found[i]
    return Scenes(
      {"image": images},
      np.array([start + i for i in good], np.int64),
      np.array([names[start + i] for i in good], np.str_),
      [text for text in found if isinstance(text, str)],
    )

  states = [
    (name, *_state(path)) for name, path in zip(names, paths, strict=True)
  ]
  return Source(
    len(paths),
    {"folder": str(root)},
    hashlib.sha256(json.dumps(states).encode()).hexdigest(),
    read,
  )


def _state(path: str) -> tuple[int, int]:
  try:
    state = os.stat(path)
  except OSError:  # A broken link, or a loop of them; reading it tells more.
    return -1, -1
  return state.st_size, state.st_mtime_ns
