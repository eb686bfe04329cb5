"""Scene graphs: what is read, and what is refused."""

import copy
import json

import numpy as np
import pytest
from small_scenes import BY_HAND, by_hand, generated, scene

from rn_jax.clevr import ATTRIBUTES
from rn_jax.retrieval.scene_graphs.scene_graph import (
  SceneError,
  read_records,
  read_scene_graphs,
  scene_graphs,
)


def test_attributes_and_ranks_are_those_of_the_scene():
  graphs = by_hand("A", "C")
  assert graphs.num_objects.tolist() == [3, 4]
  assert graphs.image_index.tolist() == [0, 2]
  names = [
    [values[i] for i, values in zip(row, ATTRIBUTES.values(), strict=True)]
    for row in graphs.attributes[0, :3]
  ]
  assert names == [
    ["red", "rubber", "cube", "large"],
    ["blue", "metal", "sphere", "small"],
    ["green", "rubber", "cylinder", "large"],
  ]
  assert graphs.ranks[0].tolist() == [[0, 2], [1, 0], [2, 1], [-1, -1]]


def test_neighbours_are_counted_by_the_relations_that_lead_to_them():
  # Object 0 is leftmost and in front; 1 is right of it, and rearmost; 2 is
  # right of both and in front of 1.
  only_right, only_front, both = by_hand("A").num_neighbours[0].tolist()
  assert (only_right, only_front, both) == ([0, 1, 1], [2, 0, 0], [0, 0, 1])


def test_every_generated_scene_is_two_orders():
  graphs = generated(40)
  for ranks, count in zip(graphs.ranks, graphs.num_objects, strict=True):
    for column in ranks[:count].T:
      assert sorted(column) == list(range(count))


@pytest.mark.parametrize(
  "lists",
  [
    [[1], [2], [0]],  # a circle
    [[1, 2], [], []],  # 1 and 2 in no order
    [[1, 2], [2], [2]],  # after itself
    [[1, 2], [2]],  # an object is missing
    [[1, 7], [7], []],
    [[1, -1], [-1], []],
  ],
)
def test_relations_that_are_no_order_name_their_scene(lists):
  broken = copy.deepcopy(BY_HAND["B"])
  broken["relationships"]["front"] = lists
  with pytest.raises(SceneError, match=r"scene 1 \(.*000001.*relation 'front'"):
    scene_graphs([BY_HAND["A"], broken])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"objects": []}, "has no objects"),
    ({"objects": [{"color": "pink"}]}, "KeyError"),
    ({"relationships": {}}, "KeyError"),
    ({"image_index": 0}, "several scenes are of image 0"),
  ],
)
def test_incomplete_scenes_are_refused(change, message):
  with pytest.raises(SceneError, match=message):
    scene_graphs([BY_HAND["A"], BY_HAND["B"] | change])


def test_scenes_files_and_records_give_the_same_graphs(clevr_dir, records_dir):
  path = clevr_dir / "scenes" / "CLEVR_val_scenes.json"
  graphs = read_scene_graphs(path)
  assert len(graphs) == len(json.loads(path.read_text())["scenes"])
  assert read_records(records_dir, "val").sha256() == graphs.sha256()


def test_the_hash_sees_every_change():
  graphs = by_hand("A", "B")
  hashes = {graphs.sha256(), graphs[::-1].sha256(), graphs[:1].sha256()}
  for name in ("attributes", "ranks", "image_index", "image_filename"):
    changed = copy.deepcopy(graphs)
    array = getattr(changed, name)
    array.flat[1] = "x" if array.dtype.kind == "U" else array.flat[1] + 1
    hashes.add(changed.sha256())
  assert len(hashes) == 7


def test_files_that_hold_no_scenes_are_refused(tmp_path):
  path = tmp_path / "scenes.json"
  with pytest.raises(SceneError, match="no such file"):
    read_scene_graphs(path)
  for text in ("{", "[]", "{}"):
    path.write_text(text)
    with pytest.raises(SceneError, match="not a scenes file"):
      read_scene_graphs(path)


def test_scenes_are_found_by_image():
  graphs = by_hand("D", "A")
  assert graphs.positions([0, 3]).tolist() == [1, 0]
  assert np.array_equal(graphs[graphs.positions([0])].ranks, graphs.ranks[1:])
  with pytest.raises(SceneError, match="no scene of image 9 among 2"):
    graphs.positions([9])


@pytest.mark.parametrize(
  "changes",
  [
    *({"image_index": bad} for bad in (-1, 1.0, "1", None, True, 2**63)),
    *({"image_filename": bad} for bad in (None, 3, [])),
    *({"objects": bad} for bad in (None, 3, "abc", [1, 2, 3], [[]])),
    *({"relationships": bad} for bad in (None, 3, [], "front")),
    *(
      {"relationships": {"front": [[], [], []], "right": bad}}
      for bad in (
        [[1.0, 2.0], [2.0], []],
        [[False, True, True], [False, False, True], [False] * 3],
        [[1, 2, 2], [2], []],
        [["1", "2"], ["2"], []],
        [None, None, None],
        *(3, None, "abc", {}),
      )
    ),
  ],
  ids=repr,
)
def test_fields_of_another_type_are_refused(tmp_path, changes):
  path = tmp_path / "scenes.json"
  path.write_text(json.dumps({"scenes": [BY_HAND["A"] | changes]}))
  with pytest.raises(SceneError, match=r"scenes\.json: scene 0"):
    read_scene_graphs(path)


def test_a_list_of_booleans_is_no_list_of_objects():
  relations = {"front": [[False]], "right": [[]]}
  one = scene(["small red metal cube"], [0], [0]) | {"relationships": relations}
  with pytest.raises(SceneError, match="front"):
    scene_graphs([one])


def test_endless_nesting_is_refused(tmp_path):
  path = tmp_path / "scenes.json"
  path.write_text('{"scenes": ' + "[" * 200_000)
  with pytest.raises(SceneError, match=r"scenes\.json: not a scenes file"):
    read_scene_graphs(path)
