"""Makes the parts of a split: in parallel, and resumable."""

import json
from collections.abc import Iterator
from pathlib import Path

from data_prep.generation.job import Job, make_part
from rn_jax.host.parts import Parts
from rn_jax.host.processes import in_processes


def make_parts(
  job: Job, folder: Path, workers: int
) -> Iterator[tuple[list[str], list[str]]]:
  """Yields scenes and questions of each part of a job, in order, as JSON.

  Args:
    job: What to make.
    folder: Where finished parts are kept.
    workers: Number of processes; with 1 this process does the work.
  """
  made = in_processes(
    _read_or_make,
    range(job.num_parts),
    workers,
    shared=(job, Parts(folder, job.key())),
    in_order=True,
  )
  for _, content in made:
    scenes, questions = json.loads(content)
    yield scenes, questions


def _read_or_make(job: Job, parts: Parts, part: int) -> bytes:
  content = parts.read(part)
  if content is None:
    made = make_part(job, part)
    # As they get into the files: what reads them need not encode them again.
    texts = [[json.dumps(element) for element in kind] for kind in made]
    content = json.dumps(texts).encode()
    parts.write(part, content)
  return content
