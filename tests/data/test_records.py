"""Records: round trips, framing, and clear words about damaged data."""

import json
import multiprocessing
import runpy

import google_crc32c
import numpy as np
import pytest

from rn_jax.data import records, tfrecord
from rn_jax.data.records import RecordError


def make_scene(num_objects=2, num_questions=3, image=b"\x89PNG"):
  """Returns a scene whose every number is different."""
  counter = iter(range(10_000))

  def take(*shape):
    values = [next(counter) for _ in range(int(np.prod(shape)))]
    return np.array(values, np.int64).reshape(shape)

  n, q = num_objects, num_questions
  return {
    "image": image,
    "image_filename": "CLEVR_val_000007.png",
    "image_index": 7,
    "objects": {
      "3d_coords": take(n, 3).astype(np.float32) / 8,
      "pixel_coords": take(n, 3).astype(np.float32),
      "rotation": take(n).astype(np.float32),
      "color": take(n) % 8,
      "material": take(n) % 2,
      "shape": take(n) % 3,
      "size": take(n) % 2,
    },
    "relationships": {
      name: [[j for j in range(n) if (j + r) % 2] for _ in range(n)]
      for r, name in enumerate(("left", "right", "front", "behind"))
    },
    "questions": {
      "text": [f"How many things? {i} ü" for i in range(q)],
      "tokens": [np.arange(1, 4 + i) for i in range(q)],
      "answer": take(q) - 1,
      "question_index": take(q),
      "family": ["one_hop/3", "17", ""][:q],
      "function": take(q) % 12,
      "question_type": take(q) % 5 - 1,
      "program_length": take(q) - 1,
    },
  }


def assert_same(a, b):
  if isinstance(a, dict):
    assert a.keys() == b.keys()
    for key in a:
      assert_same(a[key], b[key])
  elif isinstance(a, np.ndarray):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b, strict=True)
  elif isinstance(a, list):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
      assert_same(x, y)
  else:
    assert type(a) is type(b)
    assert a == b


@pytest.mark.parametrize(
  "scene",
  [
    make_scene(),
    make_scene(image=None),
    make_scene(num_objects=0),
    make_scene(num_questions=0),
  ],
  ids=["full", "no image", "no objects", "no questions"],
)
def test_scene_round_trip(scene):
  payload = records.encode_scene(scene)
  assert_same(records.decode_scene(payload), scene)
  assert records.encode_scene(records.decode_scene(payload)) == payload


def test_program_lengths_may_be_missing():
  scene = make_scene()
  payload = records.encode_scene(scene)
  features = tfrecord.decode_example(payload)
  del features["questions/program_length"]
  earlier = tfrecord.encode_example(features)
  scene["questions"]["program_length"] = np.full(3, -1)
  assert_same(records.decode_scene(earlier), scene)


def test_scene_parts_of_different_length_are_refused():
  scene = make_scene()
  scene["questions"]["answer"] = scene["questions"]["answer"][:-1]
  with pytest.raises(ValueError, match=r"000007.png: questions/answer has 2"):
    records.encode_scene(scene)


def test_framing_is_tfrecord(tmp_path):
  # Written with TensorFlow's tf.io.TFRecordWriter: the records b"" and b"abc".
  expected = bytes.fromhex(
    "000000000000000029039807d8ea82a20300000000000000b099490e6162636e57f121"
  )
  path = tmp_path / "shard"
  info = records.write_shard(path, [b"", b"abc"])
  assert path.read_bytes() == expected
  assert info[:2] == (2, len(expected))
  assert list(records.read_shard(path)) == [b"", b"abc"]
  assert list(tmp_path.iterdir()) == [path]  # no temporary file stays


@pytest.mark.parametrize(
  ("implementation", "parent", "says"),
  [("c", None, 0), ("python", None, 1), ("python", object(), 0)],
)
def test_slow_checksums_are_mentioned_by_the_main_process(
  monkeypatch, caplog, implementation, parent, says
):
  monkeypatch.setattr(google_crc32c, "implementation", implementation)
  monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
  runpy.run_path(tfrecord.__file__)
  assert len(caplog.messages) == says
  assert all("pip install" in message for message in caplog.messages)


def test_interrupted_write_leaves_no_shard(tmp_path):
  def payloads():
    yield b"first"
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    records.write_shard(tmp_path / "shard", payloads())
  assert not list(tmp_path.iterdir())


def test_every_cut_and_every_flipped_byte_is_noticed(tmp_path):
  path = tmp_path / "shard"
  records.write_shard(path, [b"abc", b"defgh"])
  whole = path.read_bytes()
  first = 16 + 3
  for size in range(1, len(whole)):
    path.write_bytes(whole[:size])
    if size == first:  # indistinguishable: the manifest's count catches it
      continue
    number, offset = (0, 0) if size < first else (1, first)
    with pytest.raises(RecordError, match=f"record {number} at byte {offset}:"):
      list(records.read_shard(path))
  for position in range(len(whole)):
    flipped = bytearray(whole)
    flipped[position] ^= 4
    path.write_bytes(flipped)
    with pytest.raises(RecordError, match=r"shard: record .* run the same"):
      list(records.read_shard(path))


def write_folder(path, scenes, num_questions=None):
  path.mkdir(exist_ok=True)
  name = records.shard_name("val", 0, 1)
  info = records.write_shard(path / name, map(records.encode_scene, scenes))
  counted = sum(len(s["questions"]["text"]) for s in scenes)
  manifest = {
    "format_version": records.FORMAT_VERSION,
    "splits": {
      "val": {
        "num_scenes": len(scenes),
        "shards": [
          {
            "filename": name,
            "num_questions": num_questions or counted,
            **info._asdict(),
          }
        ],
      },
      "train": {"num_scenes": 0, "shards": []},
    },
  }
  (path / "manifest.json").write_text(json.dumps(manifest))
  return path


def test_read_scenes(tmp_path):
  scenes = [make_scene(), make_scene(num_questions=1)]
  folder = write_folder(tmp_path, scenes)
  assert_same(list(records.read_scenes(folder, "val")), scenes)
  assert records.shard_paths(folder, "val") == [
    folder / "clevr-val.tfrecord-00000-of-00001"
  ]


def test_read_scenes_counts(tmp_path):
  folder = write_folder(tmp_path, [make_scene()], num_questions=4)
  with pytest.raises(RecordError, match=r"1 records with 3 .* says 1 with 4"):
    list(records.read_scenes(folder, "val"))
  records.write_shard(records.shard_paths(folder, "val")[0], [])
  with pytest.raises(RecordError, match="0 records with 0"):
    list(records.read_scenes(folder, "val"))


@pytest.mark.parametrize("split", ["train", "test"])
def test_empty_or_unknown_split_names_the_others(tmp_path, split):
  folder = write_folder(tmp_path, [make_scene()])
  with pytest.raises(RecordError, match=rf"{split}.*with records: val"):
    list(records.read_scenes(folder, split))


def test_unusable_folders(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  with pytest.raises(RecordError, match=r"nowhere: no such .*convert_clevr"):
    records.read_manifest(tmp_path / "nowhere")
  with pytest.raises(RecordError, match="a training made it for itself"):
    records.read_manifest(tmp_path / "cache" / "rn_jax" / "clevr-0" / "records")
  with pytest.raises(RecordError, match="name the records: "):
    records.read_manifest("")
  with pytest.raises(RecordError, match=r"no finished.*goes on where it"):
    records.read_manifest(tmp_path)
  (tmp_path / "manifest.json").write_text('{"format_version": 0}')
  with pytest.raises(RecordError, match=r"version 0, but .* reads version 1"):
    records.read_manifest(tmp_path)
  (tmp_path / "manifest.json").write_text('{"format_ver')
  with pytest.raises(RecordError, match=r"manifest.json: not readable"):
    records.read_manifest(tmp_path)
  with pytest.raises(RecordError, match=r"vocabulary.json: no such file"):
    records.read_vocabulary(tmp_path)


def test_record_of_another_kind(tmp_path):
  folder = write_folder(tmp_path, [make_scene()])
  shard = records.shard_paths(folder, "val")[0]
  records.write_shard(shard, [b""])
  with pytest.raises(RecordError, match=r"00001: record 0: .*no field"):
    list(records.read_scenes(folder, "val"))
  records.write_shard(shard, [b"\xff\xff"])
  with pytest.raises(RecordError, match=r"record 0: not a tf.train.Example"):
    list(records.read_scenes(folder, "val"))
