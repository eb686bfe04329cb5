"""Writes the shards of a split: in parallel, and resumable.

Each shard is written by one process and noted in a small state file. A run
that was interrupted goes on from there if nothing that matters changed: the
state carries a key made from the arguments and the content of the sources.
"""

import hashlib
import json
import multiprocessing
import struct
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from pathlib import Path

from tqdm import tqdm

from data_prep.conversion.records_folder import state_file, write_text
from rn_jax.data import records
from rn_jax.host.processes import exit_with_parent

SCENES_PER_SHARD = 512


def count_shards(num_scenes: int, num_shards: int | None = None) -> int:
  """Returns how many shards to write: as asked, or by the number of scenes."""
  wanted = num_shards or -(-num_scenes // SCENES_PER_SHARD)
  return max(1, min(wanted, num_scenes))


def write_shard_of_scenes(
  path: Path, scenes: Iterable[dict], progress: Callable = lambda: None
) -> dict:
  """Writes scenes to one shard and returns its entry of the manifest."""
  num_questions = max_objects = max_question_length = 0
  sizes = set()

  def payloads():
    nonlocal num_questions, max_objects, max_question_length
    for scene in scenes:
      tokens = scene["questions"]["tokens"]
      num_questions += len(tokens)
      max_objects = max(max_objects, len(scene["objects"]["rotation"]))
      max_question_length = max([max_question_length, *map(len, tokens)])
      if scene["image"] is not None:
        # The first chunk of every PNG starts with them.
        width, height = struct.unpack(">II", scene["image"][16:24])
        sizes.add((height, width))
      yield records.encode_scene(scene)
      progress()

  info = records.write_shard(path, payloads())
  return {
    "filename": path.name,
    **info._asdict(),
    "num_questions": num_questions,
    "max_objects": max_objects,
    "max_question_length": max_question_length,
    "image_sizes": sorted(sizes),
  }


def _write_sources(path, sources, build, progress=lambda: None) -> dict:
  return write_shard_of_scenes(path, build(sources), progress)


def write_shards(
  records_dir: Path,
  split: str,
  sources: Sequence,
  build: Callable,
  *,
  key: str,
  num_shards: int,
  workers: int,
  known: Sequence[dict] = (),
) -> list[dict]:
  """Writes the shards of a split that are not there yet.

  Args:
    records_dir: Folder to write to.
    split: Name of the split.
    sources: The scenes in any form that can be sent to another process.
    build: Makes the record contents of some sources, in their order; a
      function (or a partial of one) at the top level of a module.
    key: Stands for everything the shards depend on.
    num_shards: Number of shards.
    workers: Number of processes; with 1 this process does the work.
    known: Manifest entries of shards that an earlier run finished.

  Returns:
    The shards' manifest entries, in order.
  """
  bounds = [len(sources) * i // num_shards for i in range(num_shards + 1)]
  parts = {
    records.shard_name(split, i, num_shards): sources[bounds[i] : bounds[i + 1]]
    for i in range(num_shards)
  }
  state_path = state_file(records_dir, split)
  entries = {
    entry["filename"]: entry
    for entry in [*known, *_read_state(state_path, key)]
    if entry["filename"] in parts and _is_intact(records_dir, entry)
  }
  todo = [name for name in parts if name not in entries]
  done = sum(entry["num_records"] for entry in entries.values())
  # With more processes than cores or shards nothing gets faster.
  workers = min(workers, len(todo))

  def finish(name: str, entry: dict) -> None:
    entries[name] = entry
    state = {"key": key, "shards": list(entries.values())}
    write_text(state_path, json.dumps(state))

  with tqdm(
    total=len(sources), initial=done, desc=split, unit=" scenes"
  ) as bar:
    if workers <= 1:
      for name in todo:
        path = records_dir / name
        finish(name, _write_sources(path, parts[name], build, bar.update))
    else:
      executor = futures.ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=exit_with_parent,
      )
      try:
        jobs = {
          executor.submit(
            _write_sources, records_dir / name, parts[name], build
          ): name
          for name in todo
        }
        for job in futures.as_completed(jobs):
          finish(jobs[job], job.result())
          bar.update(entries[jobs[job]]["num_records"])
      finally:
        executor.shutdown(cancel_futures=True)
  return [entries[name] for name in parts]


def _read_state(path: Path, key: str) -> list[dict]:
  try:
    state = json.loads(path.read_text(encoding="utf-8"))
  except (FileNotFoundError, ValueError):
    return []
  return state["shards"] if state.get("key") == key else []


def sha256_of(path: Path) -> str:
  """Returns the SHA-256 of a file."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _is_intact(records_dir: Path, entry: dict) -> bool:
  path = records_dir / entry["filename"]
  return path.exists() and sha256_of(path) == entry["sha256"]


def summarise(shards: list[dict]) -> dict:
  """Returns a split's entry of the manifest, without its source.

  `image` is None without images; its height and width are None where the
  images of the split differ in size.
  """
  sizes = {tuple(size) for shard in shards for size in shard["image_sizes"]}
  image = None
  if sizes:
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    image = {"height": height, "width": width, "channels": 3}
  return {
    "num_scenes": sum(shard["num_records"] for shard in shards),
    "num_questions": sum(shard["num_questions"] for shard in shards),
    "image": image,
    "max_objects": max(shard["max_objects"] for shard in shards),
    "max_question_length": max(s["max_question_length"] for s in shards),
    "shards": shards,
  }
