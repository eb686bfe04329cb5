"""Makes the parts of a split: in parallel, and resumable."""

import json
from collections.abc import Iterator
from pathlib import Path

from data_prep.generation.job import Job, make_part
from rn_jax.host import pool as pools
from rn_jax.host.parts import Parts
from rn_jax.host.pool import Pool


def make_parts(
  job: Job, folder: Path, pool: Pool
) -> Iterator[tuple[list[str], list[str]]]:
  """Yields scenes and questions of each part of a job, in order, as JSON.

  Args:
    job: What to make.
    folder: Where finished parts are kept.
    pool: Who makes them.
  """
  made = pools.make_parts(
    Parts(folder, job.key()),
    _make,
    enumerate(range(job.num_parts)),
    pool,
    shared=(job,),
    in_order=True,
  )
  for _, content in made:
    scenes, questions = json.loads(content)
    yield scenes, questions


def _make(job: Job, part: int) -> tuple[bytes, dict[str, int]]:
  made, refused = make_part(job, part)
  # As they get into the files: what reads them need not encode them again.
  texts = [[json.dumps(element) for element in kind] for kind in made]
  scenes, questions = map(len, texts)
  return json.dumps(texts).encode(), {
    "scenes": scenes,
    "questions": questions,
    "refusals": refused,
  }
