r"""Computes which scenes are alike: graph edit distances of queries to all.

    python -m rn_jax.retrieval.ground_truth --output=v2_soft.npz \
        --scenes=CLEVR_v1.0/scenes/CLEVR_val_scenes.json

compares the first 501 scenes with all of the file (--records_dir=DIR
--split=val reads a records folder instead). --method is v1, v2 or exact, see
bipartite.py and exact.py for the rules. The file that it writes is described
in ground_truth_file.py. Run it again after an interruption: parts that were
finished are kept.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags, logging

from rn_jax.host import cli
from rn_jax.host.exclusive import writing
from rn_jax.host.parts import Parts
from rn_jax.host.paths import place
from rn_jax.host.pool import Pool, make_parts, pool_of
from rn_jax.host.progress import progress_bar
from rn_jax.retrieval.image_indices import image_indices
from rn_jax.retrieval.scene_graphs.bipartite import MATCHES
from rn_jax.retrieval.scene_graphs.compare import (
  METHODS,
  compare,
  compare_part,
  distance_function,
)
from rn_jax.retrieval.scene_graphs.ground_truth_file import (
  GroundTruth,
  GroundTruthError,
  describe,
  load_ground_truth,
  save_ground_truth,
)
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs, load_scenes

NUM_QUERIES = 501  # as published
QUERIES_PER_PART = 8


def compute(
  scenes: SceneGraphs,
  output: str | os.PathLike,
  method: str = "v2",
  match: str = "soft",
  *,
  quirk: bool = False,
  tie_break: bool = False,
  queries: Sequence[int] | np.ndarray | None = None,
  workers: int | None = None,
  beam_options: str | None = None,
) -> GroundTruth:
  """Computes a ground truth and writes it; a finished one is reused.

  Args:
    scenes: The database.
    output: File to write; a folder beside it keeps finished parts meanwhile.
    method: One of METHODS.
    match: One of `bipartite.MATCHES`.
    quirk: v2 as its published code computed it, see `bipartite.edge_costs`.
    tie_break: See `bipartite.v1`.
    queries: Image indices; None: the first NUM_QUERIES scenes.
    workers: Processes; None: one per core. More than one needs the usual
      `if __name__ == "__main__":` guard in the calling script.
    beam_options: Options of Apache Beam, whose workers then compare; see
      docs/beam.md.

  Raises:
    BusyError: Another run writes the same file.
    GroundTruthError: The rule makes no sense, or `output` is something else.
    SceneError: A query is not in the database.
  """
  pool = pool_of(workers, beam_options)
  rule = {"method": method, "match": match, "quirk": quirk}
  rule["tie_break"] = tie_break
  distance_function(**rule)  # refuses nonsense
  if queries is None:
    queries = scenes.image_index[:NUM_QUERIES]
  query_index = np.array(list(dict.fromkeys(image_indices(queries))), np.int64)
  if not len(query_index):
    raise GroundTruthError("there are no queries")
  scenes.positions(query_index)  # refuses what is not there
  description = describe(scenes, **rule)
  output = place(output)
  with writing(output):
    if output.exists():
      return _reuse(output, description, query_index)
    return _compute(scenes, output, description, rule, query_index, pool)


def _compute(
  scenes: SceneGraphs,
  output: Path,
  description: dict,
  rule: dict,
  query_index: np.ndarray,
  pool: Pool,
) -> GroundTruth:
  positions = scenes.positions(query_index)
  size = QUERIES_PER_PART
  queries_of = np.split(positions, range(size, len(positions), size))
  job = {"description": description, "queries": query_index.tolist()}
  parts = Parts(output.with_name(f"{output.name}.parts"), job)
  done = {}
  for part in range(len(queries_of)):
    arrays = parts.read_arrays(part)
    if arrays is not None:
      done[part] = arrays["distances"]
  missing = [part for part in range(len(queries_of)) if part not in done]
  todo = [(part, queries_of[part]) for part in missing]
  total = len(positions) * len(scenes)
  left = sum(len(queries) for _, queries in todo) * len(scenes)
  if left < total:
    logging.info("%d of %d pairs are done already", total - left, total)
  if left:
    seconds = left * _seconds_per_pair(rule, scenes, positions)
    if pool.beam_options is None:
      # They take a while to start.
      pool = Pool(min(pool.workers, len(todo)) if seconds > 5 else 1)
      seconds /= pool.workers
      who = f"with {pool.workers} process{'es' * (pool.workers > 1)}"
    else:
      who = "of one worker of Beam"
    print(
      f"{left:,} pairs of {rule['method']} {rule['match']}: about "
      f"{_duration(seconds)} {who}",
      flush=True,
    )
  with progress_bar(
    total=total, initial=total - left, unit=" pairs", unit_scale=True
  ) as bar:
    for part, content in make_parts(
      parts, compare_part, todo, pool, shared=(rule, scenes)
    ):
      done[part] = parts.decode_arrays(part, content)["distances"]
      bar.update(done[part].size)
  truth = GroundTruth(
    np.concatenate([done[part] for part in range(len(queries_of))]),
    query_index,
    scenes,
    description,
  )
  save_ground_truth(output, truth)
  parts.remove()
  return truth


def _reuse(path: Path, description: dict, queries: np.ndarray) -> GroundTruth:
  truth = load_ground_truth(path)
  if truth.metadata != description or not np.array_equal(
    truth.query_index, queries
  ):
    raise GroundTruthError(
      f"{path} holds {truth.name} distances of {len(truth.query_index)} "
      f"queries to {len(truth.scenes)} scenes, made from other scenes, "
      "arguments or versions; name another output, or delete the file"
    )
  logging.info("Reusing %s", path)
  return truth


def _seconds_per_pair(
  rule: dict, scenes: SceneGraphs, positions: np.ndarray
) -> float:
  """Measures what a pair takes, on some queries and scenes."""
  rng = np.random.default_rng(0)
  queries = rng.choice(positions, min(8, len(positions)), replace=False)
  others = rng.choice(len(scenes), min(400, len(scenes)), replace=False)
  # The queries first, where `compare` looks for them.
  sample = scenes[np.concatenate([queries, others])]
  compare(rule, sample, np.arange(1))  # to warm up
  started = time.perf_counter()
  distances = compare(rule, sample, np.arange(len(queries)))
  return (time.perf_counter() - started) / distances.size


def _duration(seconds: float) -> str:
  if seconds < 100:
    return f"{max(seconds, 1):.0f} s"
  minutes = seconds / 60
  return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _first(scenes: SceneGraphs, number: int, flag: str) -> SceneGraphs:
  if number > len(scenes):
    raise GroundTruthError(
      f"{flag} is {number}, but there are {len(scenes)} scenes"
    )
  return scenes[:number]


def _main(
  scenes: str | None,
  records_dir: str | None,
  split: str,
  output: str,
  num_queries: int | None,
  queries: list[str] | None,
  subset: int | None,
  **options,
) -> None:
  if queries and num_queries:
    raise GroundTruthError("give --queries or --num_queries, not both")
  graphs = load_scenes(scenes, records_dir, split)
  if subset:
    graphs = _first(graphs, subset, "--subset")
  try:
    chosen = list(map(int, queries)) if queries else None
  except ValueError as error:
    raise GroundTruthError(f"--queries: {error}") from None
  if num_queries:
    chosen = _first(graphs, num_queries, "--num_queries").image_index
  truth = compute(graphs, output, queries=chosen, **options)
  num_queries, database = truth.distances.shape
  print(
    f"{output}: {truth.name}, {num_queries} queries, {database} scenes, "
    f"mean distance {truth.distances.mean():.2f}"
  )


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "scenes", None, "CLEVR_<split>_scenes.json to read.", addresses=True
    ),
    cli.path_flag(
      "records_dir",
      None,
      "Records folder to read, in place of --scenes.",
      addresses=True,
    ),
    flags.DEFINE_string("split", "val", "Split of the records."),
    cli.path_flag(
      "output", None, "File to write, .npz.", required=True, addresses=True
    ),
    flags.DEFINE_enum("method", "v2", METHODS, "Rule of the distance."),
    flags.DEFINE_enum(
      "match",
      "soft",
      MATCHES,
      "What unlike objects cost: soft a quarter per attribute, hard 1.",
    ),
    flags.DEFINE_bool("quirk", False, "v2 as its published code computed it."),
    flags.DEFINE_bool("tie_break", False, "v1 that breaks ties by places."),
    flags.DEFINE_integer(
      "num_queries",
      None,
      f"First scenes as queries; not given: {NUM_QUERIES}.",
      lower_bound=1,
    ),
    flags.DEFINE_list("queries", None, "Image indices of the queries."),
    flags.DEFINE_integer(
      "subset",
      None,
      "Only so many scenes, the first; not given: all.",
      lower_bound=1,
    ),
    flags.DEFINE_integer(
      "workers", None, "Processes; not given: one per core.", lower_bound=1
    ),
    cli.beam_flag("beam_options"),
  )
