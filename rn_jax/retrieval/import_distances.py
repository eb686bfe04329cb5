r"""Imports a published cache of distances as a ground-truth file.

    python -m rn_jax.retrieval.import_distances \
        --cache_dir=dist_cache/ged-approx-proportional-test --method=v1 \
        --scenes=CLEVR_v1.0/scenes/CLEVR_val_scenes.json --output=v1.npz

The cache has a file d_<query>.npy per query; see interop/distance_cache.py.
Folders named ged-approx-proportional-... hold soft distances,
ged-approx-atleastone-... hard ones.
"""

import os
from pathlib import Path

from absl import flags

from rn_jax.host import cli
from rn_jax.host.exclusive import writing
from rn_jax.interop.distance_cache import read_distance_cache
from rn_jax.retrieval.scene_graphs.bipartite import MATCHES
from rn_jax.retrieval.scene_graphs.ground_truth_file import (
  GroundTruth,
  GroundTruthError,
  save_ground_truth,
)
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs, load_scenes

_MATCH_OF = {"proportional": "soft", "atleastone": "hard"}


def import_cache(
  cache_dir: str | os.PathLike,
  scenes: SceneGraphs,
  method: str,
  match: str | None = None,
  subset: int | None = None,
) -> GroundTruth:
  """Makes a ground truth of a cache of distances.

  Args:
    cache_dir: Folder with d_<query>.npy, numbers of scenes from 0.
    scenes: All scenes that the cache was made from, in file order.
    method: Rule that it was made by: "v1" or "v2".
    match: "soft" or "hard"; None: by the folder's name.
    subset: Only so many scenes, the first; None: all.

  Returns:
    Distances of all queries that the folder has.

  Raises:
    ValueError: There are no files, one is not as long as it should be, or
      distances were not computed; or the folder's name does not tell the match.
  """
  name = Path(cache_dir).resolve().name
  match = match or next(
    (m for word, m in _MATCH_OF.items() if word in name), None
  )
  if match is None:
    raise GroundTruthError(
      f"{cache_dir}: the name says neither {' nor '.join(_MATCH_OF)}; name the "
      f"match: {', '.join(MATCHES)}"
    )
  distances, queries = read_distance_cache(cache_dir, len(scenes), subset)
  database = scenes[:subset]
  description = {
    "method": method,
    "match": match,
    "imported": name,
    "scenes_sha256": database.sha256(),
  }
  return GroundTruth(
    distances, scenes.image_index[queries], database, description
  )


def _main(
  cache_dir: str,
  scenes: str | None,
  records_dir: str | None,
  split: str,
  output: str,
  **settings,
) -> None:
  graphs = load_scenes(scenes, records_dir, split)
  truth = import_cache(cache_dir, graphs, **settings)
  with writing(Path(output)):
    save_ground_truth(output, truth)
  print(
    f"{output}: {truth.name}, {len(truth.query_index)} queries, "
    f"{len(truth.scenes)} scenes"
  )


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag("cache_dir", None, "Folder of d_*.npy.", required=True),
    cli.path_flag(
      "scenes",
      None,
      "Scenes file, CLEVR_<split>_scenes.json.",
      addresses=True,
    ),
    cli.path_flag(
      "records_dir",
      None,
      "Records folder with the scenes, in place of --scenes.",
      addresses=True,
    ),
    flags.DEFINE_string("split", "val", "Split of the records to read."),
    flags.DEFINE_enum("method", "v1", ["v1", "v2"], "Rule of the distances."),
    flags.DEFINE_enum(
      "match",
      None,
      MATCHES,
      "What unlike objects cost: soft a quarter per attribute, hard 1; not "
      "given: what the folder's name says.",
    ),
    flags.DEFINE_integer(
      "subset", None, "Only so many scenes, the first; not given: all.", 1
    ),
    cli.path_flag("output", None, "File to write, .npz.", required=True),
  )
