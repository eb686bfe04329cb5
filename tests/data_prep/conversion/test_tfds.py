"""Records and tensorflow_datasets, both ways.

What needs TensorFlow runs where it is installed and is skipped elsewhere.
"""

import io
import json
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from data_prep.conversion import tfds_source
from data_prep.conversion.tfds_source import CLASSES
from data_prep.convert_clevr import convert
from rn_jax.clevr import ANSWER_FUNCTIONS, ATTRIBUTES, RELATIONS
from rn_jax.data import records
from rn_jax.data.clevr_json import SourceError
from rn_jax.host.exclusive import BusyError, exclusive

# What tfds's data set, which lacks programs, cannot tell.
_OF_PROGRAMS = ("family", "function", "question_type", "program_length")

# About the libraries' own imports.
pytestmark = pytest.mark.filterwarnings("ignore")

tfds = pytest.importorskip("tensorflow_datasets")


@pytest.fixture(scope="module")
def clevr(tmp_path_factory):
  """A CLEVR folder of random scenes, with the relations that follow."""
  from data_prep.generation.scenes import relationships

  random = np.random.default_rng(0)
  root = tmp_path_factory.mktemp("clevr")
  for split, count in (("train", 5), ("val", 3), ("test", 2)):
    folders = {
      kind: root / "CLEVR_v1.0" / kind
      for kind in ("scenes", "questions", "images")
    }
    for folder in folders.values():
      (folder / split).mkdir(parents=True)
    scenes, questions = [], []
    for index in range(count):
      identity = {
        "image_index": index,
        "image_filename": f"CLEVR_{split}_{index:06d}.png",
      }
      image = Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8))
      image.save(folders["images"] / split / identity["image_filename"])
      objects = [
        {
          "3d_coords": (random.integers(-300, 300, 3) / 64).tolist(),
          "pixel_coords": random.integers(0, 300, 3).tolist(),
          "rotation": float(random.integers(0, 360)),
          **{
            name: str(random.choice(values))
            for name, values in ATTRIBUTES.items()
          },
        }
        for _ in range(index % 3 + 1)
      ]
      sides = relationships([o["3d_coords"] for o in objects])
      scenes.append({**identity, "objects": objects, "relationships": sides})
      for k in range(index % 4):
        question = {"question": f"Any cube{'s' * k}?", "answer": "yes"}
        questions.append({**identity, **question})
        if split == "test":
          questions[-1].pop("answer")
        else:
          questions[-1]["program"] = [{"function": "exist"}]
          questions[-1]["question_family_index"] = k
    files = {"scenes": scenes, "questions": questions}
    for kind, values in files.items():
      if (split, kind) != ("test", "scenes"):
        path = folders[kind] / f"CLEVR_{split}_{kind}.json"
        path.write_text(json.dumps({kind: values}))
      (folders[kind] / split).rmdir()
  return root / "CLEVR_v1.0"


@pytest.fixture(scope="module")
def converted(clevr, tmp_path_factory):
  """The records of that folder, with images of 8 × 8 pixels."""
  folder = tmp_path_factory.mktemp("records")
  convert(clevr, folder, image_size=8, num_shards=2, workers=1)
  return folder


def assert_equal_scenes(ours, theirs, unknown=()):
  """Compares two scenes but for the fields of questions that are unknown."""
  assert ours.keys() == theirs.keys()
  for name, value in ours.items():
    if name == "questions":
      for key, column in value.items():
        if key not in unknown:
          np.testing.assert_equal(column, theirs[name][key], err_msg=key)
    else:
      np.testing.assert_equal(value, theirs[name], err_msg=name)


def test_metadata(converted):
  info = tfds.builder_from_directory(converted).info
  assert {s: info.splits[s].num_examples for s in info.splits} == {
    "train": 5,
    "val": 3,
    "test": 1,  # a test scene is known by its questions
  }
  assert info.features["image"].shape == (8, 8, 3)
  objects = info.features["objects"].feature
  questions = info.features["questions"].feature
  for name, values in ATTRIBUTES.items():
    assert tuple(objects[name].names) == values
  assert tuple(questions["function"].names) == ANSWER_FUNCTIONS
  assert questions["answer"].names[0] == "yes"


def test_tfds_reads_the_records(converted):
  pytest.importorskip("tensorflow")
  builder = tfds.builder_from_directory(converted)
  for split in ("train", "val", "test"):
    expected = {
      scene["image_filename"]: scene
      for scene in records.read_scenes(converted, split)
    }
    read = list(tfds.as_numpy(builder.as_dataset(split=split)))
    assert len(read) == len(expected)
    for example in read:
      scene = expected.pop(example["image_filename"].decode())
      assert example["image_index"] == scene["image_index"]
      pixels = np.asarray(Image.open(io.BytesIO(scene["image"])))
      np.testing.assert_array_equal(example["image"], pixels)
      assert example["objects"].keys() == scene["objects"].keys()
      for name, values in scene["objects"].items():
        np.testing.assert_array_equal(
          example["objects"][name], values, strict=True
        )
      for name in RELATIONS:
        rows = example["relationships"][name]
        rows = [row.tolist() for row in split_rows(rows)]
        assert rows == scene["relationships"][name]
      questions = example["questions"]
      assert questions.keys() == scene["questions"].keys()
      for name, values in scene["questions"].items():
        if name in ("text", "family"):
          assert [text.decode() for text in questions[name]] == values
        elif name == "tokens":
          rows = [row.tolist() for row in split_rows(questions[name])]
          assert rows == [row.tolist() for row in values]
        else:
          np.testing.assert_array_equal(questions[name], values, strict=True)


def split_rows(ragged):
  """Returns the rows of what tfds.as_numpy makes of a ragged tensor."""
  return (
    np.split(ragged.flat_values, ragged.row_splits[1:-1])
    if (len(ragged.row_splits) > 1)
    else []
  )


def example_of(scene, split):
  """Returns a scene in the form that tfds' clevr has it."""
  pixels = np.asarray(Image.open(io.BytesIO(scene["image"])))
  objects = dict(scene["objects"])
  for name, values in ATTRIBUTES.items():
    objects[name] = np.array(
      [CLASSES[name].index(values[i]) for i in objects[name]], np.int64
    )
  answers = [b"" if i < 0 else b"yes" for i in scene["questions"]["answer"]]
  return {
    "image": pixels,
    "file_name": scene["image_filename"].encode(),
    "objects": objects,
    "question_answer": {
      "question": np.array(
        [text.encode() for text in scene["questions"]["text"]], object
      ),
      "answer": np.array(answers, object),
    },
  }


@pytest.fixture
def examples(converted):
  """The scenes in the form and the order that tfds has them."""

  def examples(split, whole):
    scenes = list(records.read_scenes(converted, split))
    shuffled = [example_of(scene, split) for scene in scenes[::-1]]
    if not whole:
      for example in shuffled:
        del example["image"], example["objects"]
    return shuffled

  return examples


def write_examples(examples, folder, splits, num_shards=2):
  with mock.patch.object(
    tfds_source, "open_tfds", return_value=("clevr", examples)
  ):
    return convert(
      *("data_dir", folder, splits),
      image_size=8,
      num_shards=num_shards,
      source="tfds",
    )


def test_examples_of_tfds_become_the_same_records(
  converted, examples, tmp_path
):
  splits = ["val", "test", "train"]
  for _ in range(2):  # the second time there is nothing left to do
    manifest = write_examples(examples, tmp_path, splits)
  assert list(manifest["splits"]) == ["train", "val", "test"]
  for name in ("vocabulary.json", "features.json"):
    assert (tmp_path / name).read_bytes() == (converted / name).read_bytes()
  for split in splits:
    ours = list(records.read_scenes(converted, split))
    theirs = list(records.read_scenes(tmp_path, split))[::-1]
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
      assert_equal_scenes(a, b, _OF_PROGRAMS)
      for name in _OF_PROGRAMS[1:]:
        assert set(b["questions"][name]) <= {-1}
      assert set(b["questions"]["family"]) <= {""}


@pytest.mark.parametrize("change", [-1, 1])
def test_another_number_of_examples_is_noticed(examples, tmp_path, change):
  def changed(split, whole):
    found = examples(split, whole)
    return (
      found if not whole else (found + found[:1] if change > 0 else found[1:])
    )

  with pytest.raises(SourceError, match="number of examples changed"):
    write_examples(changed, tmp_path, ["train"])


def test_an_interrupted_conversion_of_tfds_goes_on(
  examples, tmp_path, monkeypatch
):
  out, whole = tmp_path / "out", tmp_path / "whole"
  write_examples(examples, whole, ["train"], num_shards=5)
  scene_of = tfds_source._scene_of
  built = []

  def build(example, *arguments):
    if len(built) == stop_after:
      raise KeyboardInterrupt
    built.append(example["file_name"])
    return scene_of(example, *arguments)

  monkeypatch.setattr(tfds_source, "_scene_of", build)
  stop_after = 3
  with pytest.raises(KeyboardInterrupt):
    write_examples(examples, out, ["train"], num_shards=5)
  # One of the three finished shards gets damaged.
  (out / records.shard_name("train", 1, 5)).write_bytes(b"damaged")
  stop_after = None
  write_examples(examples, out, ["train"], num_shards=5)
  names = [example["file_name"] for example in examples("train", True)]
  assert built == [*names[:3], names[1], *names[3:]]
  assert {p.name: p.read_bytes() for p in out.iterdir()} == {
    p.name: p.read_bytes() for p in whole.iterdir()
  }


def test_two_conversions_of_tfds_do_not_meet(examples, tmp_path):
  with (
    exclusive(tmp_path / ".convert.lock"),
    pytest.raises(BusyError, match="another run is writing here"),
  ):
    write_examples(examples, tmp_path, ["train"])


def test_tfds_without_tensorflow_says_what_to_install(tmp_path):
  with (
    mock.patch.dict("sys.modules", {"tensorflow": None}),
    pytest.raises(SourceError, match=r"pip install 'rn_jax\[tfds\]'"),
  ):
    convert(tmp_path, tmp_path / "out", source="tfds")


def test_clevr_as_tfds_prepares_it(clevr, converted, tmp_path):
  pytest.importorskip("tensorflow")
  with pytest.raises(SourceError, match="has not prepared"):
    convert(tmp_path, tmp_path / "out", source="tfds")
  builder = tfds.builder("clevr:3.1.0", data_dir=tmp_path)
  with mock.patch.object(
    tfds.download.DownloadManager,
    "download_and_extract",
    return_value=str(clevr.parent),
  ):
    builder.download_and_prepare()
  convert(tmp_path, tmp_path / "out", image_size=8, num_shards=1, source="tfds")
  words = (tmp_path / "out" / "vocabulary.json").read_bytes()
  assert words == (converted / "vocabulary.json").read_bytes()
  for split in ("train", "val", "test"):
    theirs = {
      scene["image_index"]: scene
      for scene in records.read_scenes(tmp_path / "out", split)
    }
    for scene in records.read_scenes(converted, split):
      assert_equal_scenes(
        scene,
        theirs.pop(scene["image_index"]),
        _OF_PROGRAMS,
      )
    # CLEVR's JSON knows no test image without questions; tfds keeps it.
    assert all(not scene["questions"]["text"] for scene in theirs.values())
