"""Explanations: who is matched, what differs, and terms that sum up."""

import json
import subprocess
import sys

import numpy as np
import pytest
from small_scenes import BY_HAND, by_hand, generated, scene

from rn_jax.retrieval.explain import as_text
from rn_jax.retrieval.ground_truth import compute
from rn_jax.retrieval.scene_graphs.bipartite import v2
from rn_jax.retrieval.scene_graphs.exact import exact
from rn_jax.retrieval.scene_graphs.explanation import explain, explain_pair
from rn_jax.retrieval.scene_graphs.scene_graph import SceneError, scene_graphs

# One object looks different, two have changed places from left to right, and
# one has come in behind and left of all.
_CHANGED = scene(
  [
    "large red rubber cube",
    "small blue metal sphere",
    "small green metal cylinder",
    "large gray metal cube",
  ],
  [3, 1, 0, 2],
  [3, 1, 2, 0],
  index=9,
)


@pytest.mark.parametrize("method", ["v2", "exact"])
def test_what_changed_is_what_is_said(method):
  scenes = scene_graphs([BY_HAND["A"], _CHANGED])
  found = explain(scenes, 0, 9, method)
  assert [pair["objects"] for pair in found["matched"]] == [
    [0, 0],
    [1, 1],
    [2, 2],
  ]
  differences = [pair["differences"] for pair in found["matched"]]
  assert differences == [
    {},
    {},
    {"material": ["rubber", "metal"], "size": ["large", "small"]},
  ]
  assert found["deleted"] == []
  assert found["inserted"] == [{"object": 3, "name": "large gray metal cube"}]
  assert found["inverted"] == [
    {"relation": "right", "objects": [1, 0], "matches": [1, 0]}
  ]
  terms = {term["what"]: term["cost"] for term in found["terms"]}
  assert terms["attributes of matched objects"] == 0.5
  if method == "exact":
    assert terms["inserted objects"] == 1
    assert terms["inserted relations"] == 6  # two to each of three objects
    # Red was left of and in front of blue, and is right of and in front of it.
    assert terms["relations between matched objects"] == 2
    assert found["distance"] == 9.5
  text = as_text(found)
  assert (
    "1 small blue metal sphere is right of 0 large red rubber cube, but"
    in (text)
  )
  assert "inserted: 3 large gray metal cube" in text
  assert "rubber to metal, large to small" in text


@pytest.mark.parametrize("match", ["soft", "hard"])
@pytest.mark.parametrize("method", ["v2", "exact"])
def test_terms_sum_up_to_the_distance(method, match):
  scenes = generated(25)
  for i in range(0, 25, 4):
    one = scenes[[i]]
    if method == "v2":
      distances = v2(one, scenes, match)
    else:
      distances = exact(one, scenes, match)[0]
    for j in range(25):
      found = explain(scenes, i, j, method, match)
      assert found["distance"] == distances[j]
      total = sum(term["cost"] for term in found["terms"])
      assert total == pytest.approx(distances[j])
      objects = [pair["objects"] for pair in found["matched"]]
      left = sorted([*(o[0] for o in objects), *_objects(found["deleted"])])
      right = sorted([*(o[1] for o in objects), *_objects(found["inserted"])])
      assert left == list(range(scenes.num_objects[i]))
      assert right == list(range(scenes.num_objects[j]))


@pytest.mark.parametrize("method", ["v2", "exact"])
def test_scenes_of_two_files_are_explained_as_if_of_one(method):
  alone = [scene_graphs([BY_HAND["A"]]), scene_graphs([_CHANGED])]
  assert alone[0].attributes.shape != alone[1].attributes.shape
  scenes = scene_graphs([BY_HAND["A"], _CHANGED])
  assert explain_pair(*alone, method) == explain(scenes, 0, 9, method)
  assert explain_pair(*alone[::-1], method) == explain(scenes, 9, 0, method)


def _objects(unmatched: list[dict]) -> list[int]:
  return [entry["object"] for entry in unmatched]


def test_the_quirk_is_explained_too():
  scenes = by_hand("alone", "not alone")
  plain, quirk = (explain(scenes, 4, 5, quirk=q) for q in (False, True))
  assert (plain["distance"], quirk["distance"]) == (2, 5)
  assert (len(plain["deleted"]), len(quirk["deleted"])) == (0, 1)


def test_a_scene_and_itself_are_alike():
  found = explain(generated(3), 1, 1, "exact")
  assert found["distance"] == 0
  assert found["inverted"] == []
  assert all(p["objects"][0] == p["objects"][1] for p in found["matched"])


@pytest.mark.parametrize(
  "arguments", [(0, 9), (0, 1, "v1"), (0, 1, "v2", "firm")]
)
def test_nonsense_is_refused(arguments):
  with pytest.raises(SceneError):
    explain(generated(3), *arguments)


def test_the_command_prints_and_writes(tmp_path):
  compute(generated(5), tmp_path / "truth.npz")
  output = tmp_path / "explained.json"
  command = [sys.executable, "-m", "rn_jax.retrieval.explain"]
  command += [f"--ground_truth={tmp_path / 'truth.npz'}", "--images=0,3"]
  done = subprocess.run(
    [*command, f"--output={output}"],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  explained = json.loads(output.read_text())
  assert explained == explain(generated(5), 0, 3)
  assert done.stdout == as_text(explained) + "\n"
  assert np.isclose(explained["distance"], v2(*_two(0, 3), "soft")[0])


def _two(i: int, j: int):
  scenes = generated(5)
  return scenes[[i]], scenes[[j]]
