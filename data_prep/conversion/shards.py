"""Writes the shards of a split: in parallel, and resumable.

Each shard is written by one process. Its entry of the manifest is kept as a
part until the folder is finished, so that a run that was interrupted goes on
with the shards that are whole and made from the same sources and arguments.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from data_prep.conversion.oddities import Oddities, join, note
from data_prep.conversion.records_folder import parts_folder
from rn_jax.data import records
from rn_jax.host.parts import Parts
from rn_jax.host.pool import Pool, make_parts
from rn_jax.host.progress import progress_bar

SCENES_PER_SHARD = 512


def count_shards(num_scenes: int, num_shards: int | None = None) -> int:
  """Returns how many shards to write: as asked, or by the number of scenes."""
  wanted = num_shards or -(-num_scenes // SCENES_PER_SHARD)
  return max(1, min(wanted, num_scenes))


def _write_shard(
  records_dir: Path,
  build: Callable,
  progress: Callable | None,
  shard: tuple[str, Sequence],
) -> tuple[bytes, dict[str, int]]:
  """Writes a shard, given its name and sources; gives its manifest entry."""
  name, sources = shard
  num_pictures = num_questions = max_objects = max_question_length = 0
  sizes = set()
  oddities: Oddities = {}

  def payloads():
    nonlocal num_pictures, num_questions, max_objects, max_question_length
    for scene in build(sources):
      tokens = scene["questions"]["tokens"]
      num_questions += len(tokens)
      max_objects = max(max_objects, len(scene["objects"]["rotation"]))
      max_question_length = max([max_question_length, *map(len, tokens)])
      for kind in scene.get("oddities", ()):
        note(oddities, kind, scene["image_filename"])
      if scene["image"] is not None:
        num_pictures += 1
        # The first chunk of every PNG starts with them.
        width, height = struct.unpack(">II", scene["image"][16:24])
        sizes.add((height, width))
      yield records.encode_scene(scene)
      if progress:
        progress()

  info = records.write_shard(records_dir / name, payloads())
  entry = {
    "filename": name,
    **info._asdict(),
    "num_questions": num_questions,
    "max_objects": max_objects,
    "max_question_length": max_question_length,
    "image_sizes": sorted(sizes),
    "warnings": oddities,
  }
  counts = {
    "scenes": info.num_records,
    "questions": num_questions,
    "pictures": num_pictures,
  }
  return json.dumps(entry).encode(), counts


def write_shards(
  records_dir: Path,
  split: str,
  sources: Sequence,
  build: Callable,
  *,
  key: str,
  num_shards: int,
  pool: Pool,
  known: Sequence[dict] = (),
) -> list[dict]:
  """Writes the shards of a split that are not there yet.

  Args:
    records_dir: Folder to write to.
    split: Name of the split.
    sources: The scenes in any form that can be sent to another process.
    build: Makes the record contents of some sources, in their order. Unless
      the pool is here, a function (or a partial of one) at the top level of a
      module; else it is called for one shard after the other.
    key: Stands for everything the shards depend on.
    num_shards: Number of shards.
    pool: Who writes them.
    known: Manifest entries of shards that an earlier run finished.

  Returns:
    The shards' manifest entries, in order.
  """
  bounds = [len(sources) * i // num_shards for i in range(num_shards + 1)]
  names = [records.shard_name(split, i, num_shards) for i in range(num_shards)]
  notes = parts_folder(records_dir, split)
  notes.mkdir(parents=True, exist_ok=True)  # tells whose the shards are
  parts = Parts(notes, key)
  entries = {entry["filename"]: entry for entry in known}
  for i, name in enumerate(names):
    noted = parts.read(i)
    if noted is not None:
      entries[name] = json.loads(noted)
    if not _is_intact(records_dir, entries.get(name)):
      entries.pop(name, None)
  missing = [i for i, name in enumerate(names) if name not in entries]
  todo = []
  for i in missing:
    parts.path(i).unlink(missing_ok=True)  # whose shard is not intact
    todo.append((i, (names[i], sources[bounds[i] : bounds[i + 1]])))
  left = sum(len(of_shard) for _, (_, of_shard) in todo)
  with progress_bar(
    total=len(sources),
    initial=len(sources) - left,
    desc=split,
    unit=" scenes",
  ) as bar:
    here = pool.is_here or (len(todo) == 1 and pool.beam_options is None)
    shared = (records_dir.absolute(), build, bar.update if here else None)
    for i, noted in make_parts(parts, _write_shard, todo, pool, shared=shared):
      entries[names[i]] = json.loads(noted)
      if not here:
        bar.update(entries[names[i]]["num_records"])
  return [entries[name] for name in names]


def sha256_of(path: Path) -> str:
  """Returns the SHA-256 of a file."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _is_intact(records_dir: Path, entry: dict | None) -> bool:
  if entry is None:
    return False
  path = records_dir / entry["filename"]
  return path.exists() and sha256_of(path) == entry["sha256"]


def summarise(shards: list[dict], oddities: Oddities) -> dict:
  """Returns a split's entry of the manifest, without its source.

  `warnings` (see oddities.py) are those given and those of the shards.
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
    "warnings": join(
      # Those of earlier versions have none.
      [oddities, *(shard.get("warnings", {}) for shard in shards)]
    ),
    "shards": shards,
  }
