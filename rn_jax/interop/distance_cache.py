"""Published caches of distances between scenes.

A cache is a folder with a file d_<query>.npy per query. In spite of its name
it is no NumPy file but plain little-endian float32, one for each scene in file
order, -1 where it was not computed.
"""

import os
import re
from pathlib import Path

import numpy as np

from rn_jax.host.paths import local_path


def read_distance_cache(
  folder: str | os.PathLike, num_scenes: int, subset: int | None = None
) -> tuple[np.ndarray, list[int]]:
  """Reads a cache of distances.

  Args:
    folder: Folder with d_<query>.npy, numbers of scenes from 0.
    num_scenes: How many scenes it was made from.
    subset: Only so many of them, the first; None: all.

  Returns:
    float32 [Q, D] to all scenes of the subset, and the Q queries among them
    that the folder has, ascending.

  Raises:
    ValueError: There are no files, one is not as long as it should be, or
      distances were not computed.
    OSError: A file cannot be opened.
  """
  wanted = min(subset or num_scenes, num_scenes)
  found = {
    int(name[1]): path
    for path in Path(local_path(folder)).glob("d_*.npy")
    if (name := re.fullmatch(r"d_(\d+)\.npy", path.name))
  }
  queries = [query for query in sorted(found) if query < wanted]
  if not queries:
    raise ValueError(
      f"{folder}: no files d_<query>.npy with a query below {wanted}"
    )
  rows = [_read(found[query], num_scenes)[:wanted] for query in queries]
  for query, row in zip(queries, rows, strict=True):
    if not (row >= 0).all():
      missing = np.flatnonzero(~(row >= 0))
      raise ValueError(
        f"{found[query]}: {len(missing)} of {wanted} distances were not "
        f"computed, the first of scene {missing[0]}; a smaller --subset may be "
        "whole"
      )
  return np.stack(rows), queries


def _read(path: Path, length: int) -> np.ndarray:
  data = path.read_bytes()
  if len(data) != 4 * length:
    raise ValueError(
      f"{path}: {len(data)} bytes instead of {4 * length}, a float32 for each "
      f"of {length} scenes; give the scenes that the cache was made from"
    )
  return np.frombuffer(data, "<f4").astype(np.float32)
