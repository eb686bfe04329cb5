"""Measures how well descriptors rank images as their scene graphs do.

    python -m rn_jax.retrieval.evaluate --features=features.npz \
        --ground_truth=v2_soft.npz,v2_hard.npz --output_dir=DIR

writes DIR/evaluation.md, .csv and .json (with the values of every query) and
pictures. The features must cover the scenes of the ground truth; without any,
only the rows that other figures should be read next to are computed.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from rn_jax.host.atomic import replacing
from rn_jax.retrieval.describe.features import (
  Features,
  FeaturesError,
  load_features,
)
from rn_jax.retrieval.scene_graphs.ground_truth_file import (
  GroundTruthError,
  load_ground_truth,
)
from rn_jax.retrieval.scene_graphs.scene_graph import SceneError, SceneGraphs
from rn_jax.retrieval.scores import report, report_figures, scoring


def evaluate(
  features: Sequence[str | os.PathLike],
  ground_truths: Sequence[str | os.PathLike],
  output_dir: str | os.PathLike,
  *,
  descriptors: Sequence[str] = (),
  oracles: bool = True,
) -> list[dict]:
  """Scores descriptors against ground truths; writes tables and pictures.

  Args:
    features: Features files; all their descriptors are scored.
    ground_truths: Ground-truth files.
    output_dir: Folder to write to.
    descriptors: Names of the descriptors to score instead of all.
    oracles: Score histograms of the scene graphs too.

  Returns:
    A table per ground truth, as in evaluation.json.

  Raises:
    FeaturesError: A features file is damaged, or lacks scenes or descriptors.
    GroundTruthError: A ground-truth file is damaged.
  """
  stems = [Path(path).stem for path in ground_truths]
  if len(set(stems)) < len(stems):
    raise GroundTruthError(
      "two ground-truth files have the same name; pictures are named after them"
    )
  if not stems:
    raise GroundTruthError("name at least one ground-truth file")
  loaded = {Path(path): load_features(path) for path in features}
  known = {name for f in loaded.values() for name in f.descriptors}
  if unknown := sorted(set(descriptors) - known):
    raise FeaturesError(
      f"no descriptor {unknown[0]!r}; there are: {', '.join(sorted(known))}"
    )
  output_dir = Path(output_dir)
  tables = []
  for path in ground_truths:
    truth = load_ground_truth(path)
    if len(truth.scenes) < 2:
      raise GroundTruthError(f"{path}: a single scene cannot be ranked")
    candidates = scoring.sanity_rows(truth.scenes)
    if oracles:
      candidates += scoring.oracle_rows(truth.scenes)
    candidates += _descriptors(loaded, truth.scenes, descriptors)
    scores, level = scoring.score(truth, candidates)
    tables.append(report.summarise(truth, str(path), candidates, scores, level))
  report.write_report(output_dir, tables)
  for stem, table in zip(stems, tables, strict=True):
    for name, figure in (
      ("bars", report_figures.draw_bars(table)),
      ("recall", report_figures.draw_recall(table)),
    ):
      with replacing(output_dir / f"{stem}_{name}.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110)
  return tables


def _descriptors(
  loaded: dict[Path, Features], scenes: SceneGraphs, wanted: Sequence[str]
) -> list[scoring.Candidate]:
  candidates = []
  for path, features in loaded.items():
    rows = rows_of_scenes(features, scenes, str(path))
    for name, vectors in features.descriptors.items():
      if wanted and name not in wanted:
        continue
      label = features.label(name)
      if sum(name in f.descriptors for f in loaded.values()) > 1:
        label = f"{label} ({path.stem})"
      candidates += scoring.of_vectors(
        label,
        vectors[rows],
        features.about(name).get("metric", "euclidean"),
        source={"file": str(path), "descriptor": name},
      )
  return candidates


def rows_of_scenes(
  features: Features, scenes: SceneGraphs, path: str
) -> np.ndarray:
  """Finds the rows of scenes in a features file, by their images' names.

  Raises:
    FeaturesError: A scene has no row, or its image's name occurs twice.
  """
  names = [name.rsplit("/", 1)[-1] for name in features.image_filename.tolist()]
  row_of = {name: row for row, name in enumerate(names)}
  wanted = scenes.image_filename.tolist()
  missing = [name for name in wanted if name not in row_of]
  if missing:
    raise FeaturesError(
      f"{path}: no features of {len(missing)} of {len(wanted)} scenes, the "
      f"first is {missing[0]}. Extract features of all scenes of the ground "
      "truth, or compute one of those that have features (--subset)"
    )
  if len(row_of) < len(names):
    wanted_names = set(wanted)
    twice = [n for n in row_of if n in wanted_names and names.count(n) > 1]
    if twice:
      raise FeaturesError(
        f"{path}: several images are named {twice[0]}; extract features of one "
        "split or folder"
      )
  return np.array([row_of[name] for name in wanted], np.int64)


def _main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments {argv[1:]}")
  values = flags.FLAGS
  try:
    tables = evaluate(
      values.features,
      values.ground_truth,
      values.output_dir,
      descriptors=values.descriptors,
      oracles=values.oracles,
    )
  except (FeaturesError, GroundTruthError, SceneError, OSError) as error:
    raise SystemExit(f"error: {error}") from error
  for table in tables:
    print(report.markdown(table))
  print(f"Written to {values.output_dir}")


if __name__ == "__main__":
  # Only when run as a program: others import this module.
  flags.DEFINE_list("features", [], "Features files.")
  flags.DEFINE_list("ground_truth", None, "Ground-truth files.", required=True)
  flags.DEFINE_string("output_dir", None, "Folder to write to.", required=True)
  flags.DEFINE_list("descriptors", [], "Descriptors to score; default: all.")
  flags.DEFINE_bool("oracles", True, "Score histograms of the scenes too.")
  app.run(_main)
