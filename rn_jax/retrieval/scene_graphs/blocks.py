"""Compares queries with a database in blocks: in parallel, and resumable."""

import functools
import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import numpy as np
from absl import logging

from rn_jax.host.atomic import leftovers
from rn_jax.host.processes import exit_with_parent
from rn_jax.retrieval.describe.archive import (
  ArchiveError,
  read_archive,
  write_archive,
)
from rn_jax.retrieval.scene_graphs import bipartite
from rn_jax.retrieval.scene_graphs.exact import exact
from rn_jax.retrieval.scene_graphs.ground_truth_file import GroundTruthError
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs

METHODS = ("v1", "v2", "exact")

_scenes: SceneGraphs  # of a worker process


def distance_function(
  method: str, match: str, quirk: bool = False, tie_break: bool = False
) -> Callable[[SceneGraphs, SceneGraphs], np.ndarray]:
  """Returns the function from one scene and D others to distances, [D].

  Raises:
    GroundTruthError: There is no such rule.
  """
  if method not in METHODS or match not in bipartite.MATCHES:
    raise GroundTruthError(
      f"no distance {method!r} {match!r}; methods: {', '.join(METHODS)}; "
      f"matches: {', '.join(bipartite.MATCHES)}"
    )
  if (quirk and method != "v2") or (tie_break and method != "v1"):
    raise GroundTruthError("quirk is an option of v2, tie_break one of v1")
  if method == "v1":
    return functools.partial(bipartite.v1, match=match, tie_break=tie_break)
  if method == "v2":
    return functools.partial(bipartite.v2, match=match, quirk=quirk)
  return lambda query, others: exact(query, others, match)[0]


def compare(
  rule: dict, scenes: SceneGraphs, positions: np.ndarray
) -> np.ndarray:
  """Compares some of the scenes with all; returns distances, [Q, D]."""
  distance = distance_function(**rule)
  return np.stack([distance(scenes[[i]], scenes) for i in positions])


def compare_blocks(
  rule: dict, scenes: SceneGraphs, blocks: dict[int, np.ndarray], workers: int
) -> Iterator[tuple[int, np.ndarray]]:
  """Yields blocks of distances as they get done, each with its number."""
  if workers <= 1:
    for i, positions in blocks.items():
      yield i, compare(rule, scenes, positions)
    return
  executor = futures.ProcessPoolExecutor(
    workers,
    mp_context=multiprocessing.get_context("spawn"),
    initializer=_start_worker,
    initargs=(scenes,),
  )
  try:
    jobs = {
      executor.submit(_compare_in_worker, rule, positions): i
      for i, positions in blocks.items()
    }
    for job in futures.as_completed(jobs):
      yield jobs[job], job.result()
  finally:
    executor.shutdown(cancel_futures=True)


def _start_worker(scenes: SceneGraphs) -> None:
  global _scenes
  exit_with_parent()
  signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends without a traceback
  _scenes = scenes


def _compare_in_worker(rule: dict, positions: np.ndarray) -> np.ndarray:
  return compare(rule, _scenes, positions)


class Parts:
  """Finished blocks in a folder; only those of the same job are taken up."""

  def __init__(self, folder: Path, job: dict):
    """Opens the folder; `job` stands for all that the blocks depend on."""
    self._folder = folder
    text = json.dumps(job, sort_keys=True)
    self._key = hashlib.sha256(text.encode()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)

  def _path(self, block: int) -> Path:
    return self._folder / f"block_{block:05d}.npz"

  def write(self, block: int, distances: np.ndarray) -> None:
    header = {"key": self._key}
    write_archive(self._path(block), header, {"distances": distances})

  def read(self, block: int) -> np.ndarray | None:
    """Reads a finished block; None if there is no intact one of this job.

    The archive's own checksums tell whether it is intact.
    """
    try:
      arrays, header = read_archive(self._path(block))
      distances = arrays["distances"]
    except FileNotFoundError:
      return None
    except (ArchiveError, KeyError) as error:
      logging.warning("A damaged block is computed again: %s", error)
      return None
    if header != {"key": self._key}:
      logging.warning("%s is of another run: computed again", self._path(block))
      return None
    return distances

  def remove(self) -> None:
    """Removes the blocks, and the folder."""
    for path in [*self._folder.glob("block_*.npz"), *leftovers(self._folder)]:
      path.unlink()
    self._folder.rmdir()
