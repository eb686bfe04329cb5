"""Scenes that are given to `ask`: as CLEVR describes them, or an error."""

import json

import numpy as np
import pytest
from small_clevr import make_scene

from rn_jax.clevr import ATTRIBUTES
from rn_jax.data.states import read_objects


def test_a_scene_is_read_from_a_file_as_from_a_dictionary(tmp_path):
  scene = make_scene(0)
  (tmp_path / "a.json").write_text(json.dumps(scene))
  rows = read_objects(scene, 3)
  np.testing.assert_array_equal(rows[1], [1.25, -1.5, np.float32(0.7), *_ids()])
  np.testing.assert_array_equal(read_objects(tmp_path / "a.json", 3), rows)


def _ids():
  item = make_scene(0)["objects"][1]
  return [list(v).index(item[name]) + 1 for name, v in ATTRIBUTES.items()]


@pytest.mark.parametrize(
  ("field", "value"),
  [
    *(("3d_coords", [0, 0, bad]) for bad in (None, "1", True, 1e39)),
    *(("3d_coords", [0, 0, bad]) for bad in (float("nan"), -float("inf"))),
    *(("3d_coords", bad) for bad in ([0, 0], [0] * 6, None, "123", {}, 3)),
    *(("color", bad) for bad in (None, "mauve", ["red"], {}, 3)),
  ],
  ids=repr,
)
def test_bad_fields_are_named(tmp_path, field, value):
  scene = make_scene(0)
  scene["objects"][1][field] = value
  path = tmp_path / "a.json"
  path.write_text(json.dumps(scene))
  for given, where in ((scene, "the scene"), (path, str(path))):
    with pytest.raises(ValueError, match=f"{where}: .*object 1: {field} is "):
      read_objects(given, 10)


@pytest.mark.parametrize(
  "text",
  [
    *("[" * 100_000, '{"objects": ' * 100_000, "[]", "3", "{}", "null"),
    *('{"objects": 3}', '{"objects": "ab"}', '{"objects": [1]}'),
    *('{"objects": {"a": 1}}', '{"objects": null}', '{"objects": [[]]}'),
  ],
  ids=lambda text: text[:20],
)
def test_files_of_other_content(tmp_path, text):
  path = tmp_path / "a.json"
  path.write_text(text)
  with pytest.raises(ValueError, match=r"a\.json") as error:
    read_objects(path, 10)
  assert not isinstance(error.value, UnicodeError | json.JSONDecodeError)
