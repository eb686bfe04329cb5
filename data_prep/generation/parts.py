"""Makes the parts of a job as files: in parallel, and resumable.

A part is made by one process and holds lines of JSON. Its first line has the
job's key and a hash of the rest, so that an interrupted job goes on with what
is whole and its own; any other part is made anew.
"""

import collections
import hashlib
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from data_prep.conversion.shards import exit_with_parent
from data_prep.generation.job import Job, make_part
from rn_jax.host.atomic import replacing


def make_parts(job: Job, folder: Path, workers: int) -> Iterator[Path]:
  """Makes the parts of a job and yields their paths in order.

  Args:
    job: What to make.
    folder: Folder of the parts.
    workers: Number of processes; with 1 this process does the work.
  """
  key = job.key()
  paths = [folder / f"{part:06d}.jsonl" for part in range(job.num_parts)]
  workers = min(workers, len(paths))
  if workers == 1:
    for part, path in enumerate(paths):
      _write_part(job, part, path, key)
      yield path
    return
  context = multiprocessing.get_context("spawn")
  with ProcessPoolExecutor(
    workers, mp_context=context, initializer=exit_with_parent
  ) as pool:
    pending = collections.deque()
    try:
      for part, path in enumerate(paths):
        pending.append((pool.submit(_write_part, job, part, path, key), path))
        if len(pending) > 2 * workers:
          made, first = pending.popleft()
          made.result()
          yield first
      for made, path in pending:
        made.result()
        yield path
    finally:
      pool.shutdown(cancel_futures=True)


def read_part(path: Path) -> tuple[list[str], list[str]]:
  """Returns the scenes and the questions of a part, as JSON."""
  head, *lines = path.read_text(encoding="utf-8").split("\n")
  num_scenes = json.loads(head)["num_scenes"]
  return lines[:num_scenes], lines[num_scenes:]


def _write_part(job: Job, part: int, path: Path, key: str) -> None:
  if _is_whole(path, key):
    return
  scenes, questions = make_part(job, part)
  body = "\n".join(map(json.dumps, [*scenes, *questions]))
  head = {"key": key, "sha256": _hash(body), "num_scenes": len(scenes)}
  with replacing(path) as temporary:
    temporary.write_text(f"{json.dumps(head)}\n{body}", encoding="utf-8")


def _is_whole(path: Path, key: str) -> bool:
  try:
    head, _, body = path.read_text(encoding="utf-8").partition("\n")
    head = json.loads(head)
    return head["key"] == key and head["sha256"] == _hash(body)
  except (FileNotFoundError, ValueError, KeyError, TypeError):
    return False


def _hash(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()
