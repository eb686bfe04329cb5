"""Imports a published cache of distances as a ground-truth file.

    python -m rn_jax.retrieval.import_distances \
        --cache_dir=dist_cache/ged-approx-proportional-test --method=v1 \
        --scenes=CLEVR_v1.0/scenes/CLEVR_val_scenes.json --output=v1.npz

The cache has a file d_<query>.npy per query. In spite of its name it is no
NumPy file but plain little-endian float32, one for each scene in file order,
-1 where it was not computed. Folders named ged-approx-proportional-... hold
soft distances, ged-approx-atleastone-... hard ones.
"""

import os
import re
from pathlib import Path

import numpy as np
from absl import app, flags

from rn_jax.data.records import RecordError
from rn_jax.retrieval.scene_graphs.bipartite import MATCHES
from rn_jax.retrieval.scene_graphs.ground_truth_file import (
  GroundTruth,
  GroundTruthError,
  save_ground_truth,
)
from rn_jax.retrieval.scene_graphs.scene_graph import (
  SceneError,
  SceneGraphs,
  load_scenes,
)

_MATCH_OF = {"proportional": "soft", "atleastone": "hard"}


def import_cache(
  cache_dir: str | os.PathLike,
  scenes: SceneGraphs,
  method: str,
  match: str | None = None,
  subset: int | None = None,
) -> GroundTruth:
  """Reads a cache of distances.

  Args:
    cache_dir: Folder with d_<query>.npy, numbers of scenes from 0.
    scenes: All scenes that the cache was made from, in file order.
    method: Rule that it was made by: "v1" or "v2".
    match: "soft" or "hard"; None: by the folder's name.
    subset: Only so many scenes, the first; None: all.

  Returns:
    Distances of all queries that the folder has.

  Raises:
    GroundTruthError: There are no files, one is not as long as it should be,
      or distances were not computed.
  """
  folder = Path(cache_dir)
  match = match or next(
    (m for word, m in _MATCH_OF.items() if word in folder.resolve().name), None
  )
  if match is None:
    raise GroundTruthError(
      f"{folder}: the name says neither {' nor '.join(_MATCH_OF)}; name the "
      f"match: {', '.join(MATCHES)}"
    )
  found = {
    int(name[1]): path
    for path in folder.glob("d_*.npy")
    if (name := re.fullmatch(r"d_(\d+)\.npy", path.name))
  }
  database = scenes[: subset or len(scenes)]
  queries = [q for q in sorted(found) if q < len(database)]
  if not queries:
    raise GroundTruthError(
      f"{folder}: no files d_<query>.npy with a query below {len(database)}"
    )
  distances = np.stack(
    [_read(found[q], len(scenes), len(database)) for q in queries]
  )
  description = {
    "method": method,
    "match": match,
    "imported": folder.resolve().name,
    "scenes_sha256": database.sha256(),
  }
  return GroundTruth(
    distances, scenes.image_index[queries], database, description
  )


def _read(path: Path, length: int, wanted: int) -> np.ndarray:
  data = path.read_bytes()
  if len(data) != 4 * length:
    raise GroundTruthError(
      f"{path}: {len(data)} bytes instead of {4 * length}, a float32 for each "
      f"of {length} scenes; give the scenes that the cache was made from"
    )
  row = np.frombuffer(data, "<f4")[:wanted].astype(np.float32)
  missing = np.count_nonzero(~(row >= 0))
  if missing:
    first = np.flatnonzero(~(row >= 0))[0]
    raise GroundTruthError(
      f"{path}: {missing} of {wanted} distances were not computed, the first "
      f"of scene {first}; a smaller --subset may be whole"
    )
  return row


def _main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments {argv[1:]}")
  values = flags.FLAGS
  try:
    truth = import_cache(
      values.cache_dir,
      load_scenes(values.scenes, values.records_dir, values.split),
      values.method,
      values.match,
      values.subset,
    )
    save_ground_truth(values.output, truth)
  except (GroundTruthError, SceneError, RecordError, OSError) as error:
    raise SystemExit(f"error: {error}") from error
  print(
    f"{values.output}: {truth.name}, {len(truth.query_index)} queries, "
    f"{len(truth.scenes)} scenes"
  )


if __name__ == "__main__":
  # Only when run as a program: others import this module.
  flags.DEFINE_string("cache_dir", None, "Folder of d_*.npy.", required=True)
  flags.DEFINE_string("scenes", None, "CLEVR_<split>_scenes.json.")
  flags.DEFINE_string("records_dir", None, "Records folder, in its place.")
  flags.DEFINE_string("split", "val", "Split of the records.")
  flags.DEFINE_enum("method", "v1", ["v1", "v2"], "Rule of the distances.")
  flags.DEFINE_enum("match", None, MATCHES, "Default: by the folder's name.")
  flags.DEFINE_integer("subset", None, "Only so many scenes, the first.", 1)
  flags.DEFINE_string("output", None, "File to write, .npz.", required=True)
  app.run(_main)
