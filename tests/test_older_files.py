"""Files that an earlier version wrote are read as that version read them.

`written_by_ca5368e.zip` was made by that commit: records of twelve scenes, a
network from pixels and one from states after eight updates, the features and
distances of the val split, an index, and what that version read from them.
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rn_jax import evaluate, train
from rn_jax.data import records
from rn_jax.retrieval.describe.features import load_features
from rn_jax.retrieval.index import build_index
from rn_jax.retrieval.nearest.index_files import ImageIndexError
from rn_jax.retrieval.query import load_index
from rn_jax.retrieval.scene_graphs.ground_truth_file import load_ground_truth

_ARCHIVE = Path(__file__).parent / "written_by_ca5368e.zip"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("older")
  with zipfile.ZipFile(_ARCHIVE) as archive:
    archive.extractall(root)
  return root / _ARCHIVE.stem


@pytest.fixture(scope="module")
def expected(folder):
  return json.loads((folder / "expected.json").read_text())


def _plain(value):
  """JSON of a scene; images by their hash."""
  match value:
    case dict():
      return {key: _plain(item) for key, item in value.items()}
    case list() | tuple():
      return [_plain(item) for item in value]
    case np.ndarray():
      return value.tolist()
    case bytes():
      return hashlib.sha256(value).hexdigest()
    case _:
      return value


@pytest.mark.parametrize("split", ["train", "val"])
def test_records(folder, expected, split):
  scenes = list(map(_plain, records.read_scenes(folder / "records", split)))
  for scene in scenes:  # not counted when these were written
    assert set(scene["questions"].pop("program_length")) == {-1}
  text = json.dumps(scenes, sort_keys=True)
  assert hashlib.sha256(text.encode()).hexdigest() == expected["records"][split]


@pytest.mark.parametrize("name", ["ir_fp", "ir_sd"])
def test_checkpoint_answers_as_before(folder, expected, name):
  dataset, predictions = evaluate.predict_split(
    folder / name, "val", {"data.dir": str(folder / "records")}
  )
  before = expected[name]["predictions"]
  np.testing.assert_array_equal(predictions["answer"], before["answer"])
  for key in ("probability", "loss"):
    np.testing.assert_allclose(predictions[key], before[key], rtol=1e-5)
  scored = evaluate.score(dataset, predictions)
  assert scored["accuracy"] == expected[name]["accuracy"]


def test_training_goes_on(folder, tmp_path):
  _, config, _ = evaluate.load_network(folder / "ir_sd")
  config.data.dir = str(folder / "records")
  config.train.num_epochs = 3.0
  shutil.copytree(folder / "ir_sd", tmp_path / "run")
  train.train(config, tmp_path / "run")
  lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  steps = [json.loads(line)["step"] for line in lines]
  assert min(steps) > 8
  assert max(steps) == 12


def test_features(folder, expected):
  features = load_features(folder / "features_val.npz")
  assert {
    name: hashlib.sha256(vectors.tobytes()).hexdigest()
    for name, vectors in features.descriptors.items()
  } == expected["features"]


def test_ground_truth(folder, expected):
  truth = load_ground_truth(folder / "v2_soft.npz")
  np.testing.assert_array_equal(truth.distances, expected["ground_truth"])


def test_index_is_refused_and_made_anew(folder, tmp_path):
  path = tmp_path / "index"
  shutil.copytree(folder / "index", path)
  command = (
    f"index --features=\\S+ --descriptor=NAME --output={path} --overwrite"
  )
  with pytest.raises(ImageIndexError, match=command):
    load_index(path)
  features = load_features(folder / "features_val.npz")
  name = json.loads((path / "index.json").read_text())["descriptor"]["name"]
  with pytest.raises(ImageIndexError, match=command):
    build_index(features, name, path)
  build_index(features, name, path, overwrite=True)
  assert sorted(file.suffix for file in path.iterdir()) == [".faiss", ".npz"]
  assert len(load_index(path).like([0])) == len(features) - 1
