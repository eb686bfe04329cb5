"""Ground-truth files: computing, resuming, reading, importing, refusing."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from small_scenes import generated

from rn_jax.host.exclusive import BusyError, writing
from rn_jax.retrieval import ground_truth, import_distances
from rn_jax.retrieval.ground_truth import compute
from rn_jax.retrieval.import_distances import import_cache
from rn_jax.retrieval.scene_graphs import compare as comparing
from rn_jax.retrieval.scene_graphs.bipartite import v1, v2
from rn_jax.retrieval.scene_graphs.compare import compare
from rn_jax.retrieval.scene_graphs.exact import exact
from rn_jax.retrieval.scene_graphs.ground_truth_file import (
  GroundTruthError,
  load_ground_truth,
  save_ground_truth,
)
from rn_jax.retrieval.scene_graphs.scene_graph import SceneError


def test_a_file_holds_what_the_rule_says(tmp_path):
  scenes = generated(30)
  path = tmp_path / "truth.npz"
  queries = [4, 0, 21]
  for method, match, options, rule in (
    ("v1", "hard", {"tie_break": True}, v1),
    ("v2", "soft", {"quirk": True}, v2),
    ("v2", "hard", {}, v2),
    ("exact", "soft", {}, lambda *x, **o: exact(*x, **o)[0]),
  ):
    path = tmp_path / f"{method}_{match}.npz"
    compute(scenes, path, method, match, queries=queries, **options)
    truth = load_ground_truth(path)
    assert truth.distances.dtype == np.float32
    for row, query in zip(truth.distances, queries, strict=True):
      expected = rule(scenes[[query]], scenes, match=match, **options)
      assert np.array_equal(row, expected)
    assert truth.query_index.tolist() == queries
    assert truth.query_position.tolist() == queries
    assert np.array_equal(truth.scenes.num_objects, scenes.num_objects)
    assert truth.metadata["scenes_sha256"] == scenes.sha256()
    assert set(truth.metadata["versions"]) == {"rn_jax", "numpy", "scipy"}
    assert truth.name.startswith(f"{method} {match}")
    assert (truth.name.endswith(")")) == bool(options)
  assert len(list(tmp_path.iterdir())) == 4  # no parts are left


def test_two_runs_do_not_meet_in_a_file(tmp_path):
  path = tmp_path / "truth.npz"
  with writing(path), pytest.raises(BusyError, match=r"truth\.npz: another"):
    compute(generated(4), path)
  assert not list(tmp_path.iterdir())


def test_queries_are_the_first_scenes_unless_named(tmp_path, monkeypatch):
  monkeypatch.setattr(ground_truth, "NUM_QUERIES", 5)
  truth = compute(generated(12), tmp_path / "truth.npz")
  assert truth.query_index.tolist() == [0, 1, 2, 3, 4]
  assert truth.name == "v2 soft"
  shifted = compute(generated(12)[3:], tmp_path / "shifted.npz")
  assert shifted.query_index.tolist() == [3, 4, 5, 6, 7]
  assert shifted.query_position.tolist() == [0, 1, 2, 3, 4]
  assert np.array_equal(np.diag(shifted.distances), np.zeros(5))


def test_processes_give_what_one_does(tmp_path, monkeypatch):
  scenes = generated(30)
  alone = compute(scenes, tmp_path / "alone.npz", workers=1)
  # So long that processes are worth their start.
  monkeypatch.setattr(ground_truth, "_seconds_per_pair", lambda *_: 1.0)
  together = compute(scenes, tmp_path / "together.npz", workers=2)
  assert np.array_equal(alone.distances, together.distances)


def test_an_interrupted_computation_goes_on(tmp_path, monkeypatch):
  scenes, path = generated(30), tmp_path / "truth.npz"
  expected = compute(scenes, tmp_path / "whole.npz").distances
  computed = []

  def compare_some(rule, scenes, positions):
    if len(computed) == stop_after:
      raise KeyboardInterrupt
    computed.append(positions[0])
    return compare(rule, scenes, positions)

  monkeypatch.setattr(ground_truth, "_seconds_per_pair", lambda *_: 0.0)
  monkeypatch.setattr(comparing, "compare", compare_some)
  stop_after = 3
  with pytest.raises(KeyboardInterrupt):
    compute(scenes, path)
  assert not path.exists()
  # One of the three finished parts gets damaged; another is of other queries.
  folder = tmp_path / "truth.npz.parts"
  content = bytearray((folder / "000001.part").read_bytes())
  content[-400] ^= 1
  (folder / "000001.part").write_bytes(content)
  other = tmp_path / "other.npz"
  computed.clear()
  with pytest.raises(KeyboardInterrupt):
    compute(scenes, other, queries=range(1, 30))
  other_part = tmp_path / "other.npz.parts" / "000002.part"
  other_part.replace(folder / "000002.part")
  # What an earlier version left does no harm.
  (folder / "block_00003.npz").write_bytes(b"older")
  stop_after = None
  computed.clear()
  truth = compute(scenes, path)
  assert computed == [8, 16, 24]
  assert np.array_equal(truth.distances, expected)
  assert not folder.exists()


def test_a_finished_file_is_reused_or_refused(tmp_path):
  scenes, path = generated(10), tmp_path / "truth.npz"
  truth = compute(scenes, path)
  changed = path.stat().st_mtime_ns
  again = compute(scenes, path)
  assert np.array_equal(again.distances, truth.distances)
  assert path.stat().st_mtime_ns == changed
  for options in (
    {"match": "hard"},
    {"quirk": True},
    {"queries": [1]},
    {"scenes": scenes[:9]},
  ):
    with pytest.raises(GroundTruthError, match="made from other scenes"):
      compute(**{"scenes": scenes, "output": path, **options})


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"method": "v3"}, "no distance 'v3'"),
    ({"match": "medium"}, "'medium'"),
    ({"method": "v1", "quirk": True}, "quirk is an option of v2"),
    ({"method": "exact", "tie_break": True}, "tie_break one of v1"),
    ({"queries": []}, "no queries"),
  ],
)
def test_nonsense_is_refused(tmp_path, options, message):
  with pytest.raises(GroundTruthError, match=message):
    compute(generated(3), tmp_path / "truth.npz", **options)
  assert not list(tmp_path.iterdir())


def test_unknown_queries_are_refused(tmp_path):
  with pytest.raises(SceneError, match="no scene of image 77 among 3"):
    compute(generated(3), tmp_path / "truth.npz", queries=[0, 77])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1])
def test_missing_distances_are_never_written(tmp_path, bad):
  truth = compute(generated(5), tmp_path / "truth.npz")
  distances = truth.distances.copy()
  distances[2, 3] = bad
  broken = dataclasses.replace(truth, distances=distances)
  with pytest.raises(GroundTruthError, match=r"1 .*missing.* image 2 to 3"):
    save_ground_truth(tmp_path / "broken.npz", broken)
  assert not (tmp_path / "broken.npz").exists()


def test_scenes_of_other_distances_are_noticed(tmp_path):
  truth = compute(generated(5), tmp_path / "truth.npz")
  other = dataclasses.replace(truth, scenes=generated(6)[1:])
  with pytest.raises(GroundTruthError, match="query is missing"):
    save_ground_truth(tmp_path / "other.npz", other)
  ranks = truth.scenes.ranks[..., ::-1]
  scenes = dataclasses.replace(truth.scenes, ranks=ranks)
  other = dataclasses.replace(truth, scenes=scenes)
  with pytest.raises(GroundTruthError, match="not those the distances were"):
    save_ground_truth(tmp_path / "other.npz", other)


def test_damaged_files_are_refused(tmp_path):
  path = tmp_path / "truth.npz"
  compute(generated(5), path)
  content = path.read_bytes()
  for damaged in (content[:2000], b"", b"not an archive", content[:-30]):
    path.write_bytes(damaged)
    with pytest.raises(GroundTruthError, match="damaged") as error:
      load_ground_truth(path)
    assert "pickle" not in str(error.value)  # as numpy advises
  np.savez(path, metadata=np.array(json.dumps({"format_version": 9})))
  with pytest.raises(GroundTruthError, match="format version 9"):
    load_ground_truth(path)
  np.savez(path, metadata=np.array([{}], dtype=object))
  with pytest.raises(GroundTruthError, match="damaged"):
    load_ground_truth(path)


def test_a_published_cache_is_imported(tmp_path, monkeypatch):
  scenes = generated(12)
  folder = tmp_path / "ged-approx-atleastone-test"
  folder.mkdir()
  for query in (0, 3, 11):
    v1(scenes[[query]], scenes, "hard").tofile(folder / f"d_{query}.npy")
  truth = import_cache(folder, scenes, "v1")
  assert truth.name == "v1 hard (imported)"
  assert truth.query_index.tolist() == [0, 3, 11]
  assert np.array_equal(truth.distances[1], v1(scenes[[3]], scenes, "hard"))
  save_ground_truth(tmp_path / "truth.npz", truth)
  loaded = load_ground_truth(tmp_path / "truth.npz")
  assert np.array_equal(loaded.distances, truth.distances)
  monkeypatch.setattr(import_distances, "load_scenes", lambda *_: scenes)
  arguments = (folder, None, None, "val", tmp_path / "again.npz")
  with writing(arguments[-1]), pytest.raises(BusyError, match="another run"):
    import_distances._main(*arguments, method="v1")
  assert not arguments[-1].exists()
  import_distances._main(*arguments, method="v1")
  assert np.array_equal(
    load_ground_truth(arguments[-1]).distances, truth.distances
  )


def test_a_cache_with_gaps_is_refused(tmp_path):
  scenes = generated(12)
  row = v1(scenes[[0]], scenes, "soft")
  row[8:] = -1
  row.tofile(tmp_path / "d_0.npy")
  with pytest.raises(GroundTruthError, match="the name says neither"):
    import_cache(tmp_path, scenes, "v1")
  with pytest.raises(ValueError, match=r"4 of 12 .* first of scene 8"):
    import_cache(tmp_path, scenes, "v1", "soft")
  part = import_cache(tmp_path, scenes, "v1", "soft", subset=8)
  assert part.distances.tolist() == [row[:8].tolist()]
  with pytest.raises(ValueError, match="48 bytes instead of 44"):
    import_cache(tmp_path, scenes[:11], "v1", "soft")
  (tmp_path / "d_0.npy").unlink()
  with pytest.raises(ValueError, match="no files"):
    import_cache(tmp_path, scenes, "v1", "soft")


def test_the_command_computes_or_says_what_is_wrong(clevr_dir, tmp_path):
  scenes = clevr_dir / "scenes" / "CLEVR_val_scenes.json"
  output = tmp_path / "truth.npz"
  done, failed, odd = (
    subprocess.run(
      [
        *(sys.executable, "-m", "rn_jax.retrieval.ground_truth"),
        *(f"--scenes={scenes}", f"--output={output}", *more),
      ],
      capture_output=True,
      text=True,
      check=False,
    )
    for more in (
      ["--queries=1,3", "--subset=4"],
      ["--num_queries=9"],
      ["--queries=1,x"],
    )
  )
  assert done.returncode == 0, done.stderr
  assert "8 pairs of v2 soft: about 1 s with 1 process" in done.stdout
  assert load_ground_truth(output).distances.shape == (2, 4)
  assert failed.returncode == 1
  assert "error: --num_queries is 9, but there are 5 scenes" in failed.stderr
  assert "Traceback" not in failed.stderr
  assert odd.returncode == 1
  assert "error: --queries: invalid literal" in odd.stderr
