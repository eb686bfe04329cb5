r"""Measures how well descriptors rank images as their scene graphs do.

    python -m rn_jax.retrieval.evaluate --features=features.npz \
        --ground_truth=v2_soft.npz,v2_hard.npz --output_dir=DIR

writes DIR/evaluation.md, .csv and .json (with the values of every query) and
pictures. The features must cover the scenes of the ground truth; without any,
only the rows that other figures should be read next to are computed.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.paths import local_path, local_paths, names_apart
from rn_jax.retrieval.describe.features import (
  Features,
  choose_descriptors,
  load_features,
)
from rn_jax.retrieval.scene_graphs.ground_truth_file import (
  GroundTruthError,
  load_ground_truth,
)
from rn_jax.retrieval.scene_graphs.scene_graph import SceneGraphs
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
  features = local_paths(features)
  ground_truths = local_paths(ground_truths)
  stems = [Path(path).stem for path in ground_truths]
  if len(set(stems)) < len(stems):
    raise GroundTruthError(
      "two ground-truth files have the same name; pictures are named after them"
    )
  if not stems:
    raise GroundTruthError("name at least one ground-truth file")
  loaded = {Path(path): load_features(path) for path in features}
  choose_descriptors([*loaded.values()], descriptors)
  output_dir = Path(local_path(output_dir))
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
  files = [*loaded]
  labels = [f.label(name) for f in loaded.values() for name in f.descriptors]
  apart = names_apart(files)
  rows = {
    path: features.rows_of_files(scenes.image_filename.tolist(), str(path))
    for path, features in loaded.items()
  }
  candidates = []
  for number, name in choose_descriptors([*loaded.values()], wanted):
    path = files[number]
    features = loaded[path]
    label = features.label(name)
    if labels.count(label) > 1:
      label = f"{label} ({apart[number].removesuffix('.npz')})"
    candidates += scoring.of_vectors(
      label,
      features.descriptors[name][rows[path]],
      features.about(name).get("metric", "euclidean"),
      source={"file": str(path), "descriptor": name},
    )
  return candidates


def _main(ground_truth: list[str], output_dir: str, **settings) -> None:
  for table in evaluate(
    ground_truths=ground_truth, output_dir=output_dir, **settings
  ):
    print(report.markdown(table))
  print(f"Written to {output_dir}")


if __name__ == "__main__":
  cli.run(
    _main,
    cli.paths_flag("features", [], "Features files; may be none."),
    cli.paths_flag("ground_truth", None, "Ground-truth files.", required=True),
    cli.path_flag("output_dir", None, "Folder to write to.", required=True),
    flags.DEFINE_list(
      "descriptors", [], "Names of the descriptors to score; not given: all."
    ),
    flags.DEFINE_bool(
      "oracles", True, "Score histograms of the scene graphs, too."
    ),
  )
