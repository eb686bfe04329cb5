"""Arrays on disk: equal to what was written, or not used at all."""

import multiprocessing
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from rn_jax.data import array_cache, array_file, dataset, decode
from rn_jax.data.array_file import ArrayFileError, ArrayStream
from rn_jax.data.dataset import load_dataset


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
  return tmp_path / "user"


@pytest.fixture
def small_blocks(monkeypatch):
  monkeypatch.setattr(array_file, "_BLOCK", 5000)


def example_arrays():
  rng = np.random.default_rng(0)
  return {
    "bytes": rng.integers(0, 256, (7, 50, 3), np.uint8),
    "none": np.zeros((0, 4), np.float32),
    "numbers": rng.normal(size=(300, 5)).astype(np.float32),
    "words": np.array(["zero_hop/1", "", "é"]),
    "flags": rng.random((11, 2)) < 0.5,
  }


def streams(arrays):
  for name, x in arrays.items():
    parts = [x[i : i + 3] for i in range(0, len(x), 3)]
    yield ArrayStream(name, x.dtype, x.shape, iter(parts))


def assert_same(found, expected):
  assert found.keys() == expected.keys()
  for name, values in expected.items():
    assert found[name].dtype == values.dtype, name
    np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.usefixtures("small_blocks")
def test_arrays_come_back_and_are_read_only(tmp_path):
  arrays = example_arrays()
  array_file.write_array_file(tmp_path / "a", "key", streams(arrays))
  found = array_file.read_array_file(tmp_path / "a", "key")
  assert_same(found, arrays)
  assert_same(array_file.join(streams(arrays)), arrays)
  with pytest.raises(ValueError, match="read-only"):
    found["numbers"][0] = 1
  assert array_file.read_array_file(tmp_path / "a", "other") is None


@pytest.mark.usefixtures("small_blocks")
def test_any_damage_is_noticed(tmp_path):
  path = tmp_path / "a"
  array_file.write_array_file(path, "key", streams(example_arrays()))
  content = path.read_bytes()
  for position in [*range(0, len(content), 611), *range(-24, 0)]:
    damaged = bytearray(content)
    damaged[position] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(ArrayFileError):
      array_file.read_array_file(path, "key")
  for cut in (content[:-1], content[:100], content[:3], b"", content[4096:]):
    path.write_bytes(cut)
    with pytest.raises(ArrayFileError):
      array_file.read_array_file(path, "key")


def test_too_few_rows_are_an_error(tmp_path):
  stream = ArrayStream("x", np.int32, (3,), [np.zeros(2, np.int32)])
  with pytest.raises(ValueError, match="2 rows, not 3"):
    array_file.write_array_file(tmp_path / "a", "key", [stream])
  with pytest.raises(ValueError, match="2 rows, not 3"):
    array_file.join([stream])


def load(records_dir, name, key="key", made=None, num_bytes=0):
  def make():
    if made is not None:
      made.append(name)
    return streams(example_arrays())

  return array_cache.load_arrays(records_dir, name, key, make, num_bytes)


def test_decoded_once_and_again_when_damaged_or_of_other_records(tmp_path):
  made = []
  for _ in range(2):
    assert_same(load(tmp_path, "x", made=made), example_arrays())
  assert len(made) == 1
  load(tmp_path, "x", key="other records", made=made)
  assert len(made) == 2
  path = tmp_path / "cache" / "x"
  content = bytearray(path.read_bytes())
  content[10] ^= 1
  path.write_bytes(content)
  # What a killed process left goes too.
  leftover = tmp_path / "cache" / ".x.123.tmp"
  leftover.write_bytes(b"half")
  os.utime(leftover, (0, 0))
  assert_same(
    load(tmp_path, "x", key="other records", made=made), example_arrays()
  )
  assert len(made) == 3
  names = {p.name for p in (tmp_path / "cache").iterdir()}
  assert names == {"x"}


def test_a_user_without_a_home_has_arrays_all_the_same(
  tmp_path, monkeypatch, caplog
):
  def no_home():
    raise RuntimeError("Could not determine home directory.")

  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setattr("pathlib.Path.home", no_home)
  assert_same(load(tmp_path, "x"), example_arrays())
  assert (tmp_path / "cache" / "x").is_file()
  records = tmp_path / "of others"
  records.mkdir()
  (records / "cache").write_text("in the way")
  assert_same(load(records, "x"), example_arrays())
  assert "XDG_CACHE_HOME=FOLDER" in caplog.text


def test_read_only_records_use_the_users_folder(tmp_path, user_cache, caplog):
  records_dir = tmp_path / "records"
  records_dir.mkdir()
  (records_dir / "cache").write_text("no folder can be made here")
  made = []
  for _ in range(2):
    assert_same(load(records_dir, "x", made=made), example_arrays())
  assert len(made) == 1
  assert "Cannot keep decoded arrays in" in caplog.text
  assert len(list(user_cache.glob("rn_jax/arrays/*/x"))) == 1


def test_without_room_the_arrays_stay_in_memory(tmp_path, caplog):
  found = load(tmp_path, "x", num_bytes=10**18)
  assert_same(found, example_arrays())
  assert "GB free" in caplog.text
  assert not (tmp_path / "cache" / "x").exists()


def _load_in_process(records_dir, results):
  made = []
  load(records_dir, "x", made=made)
  results.put(len(made))


def test_of_several_processes_one_decodes(tmp_path):
  context = multiprocessing.get_context("forkserver")
  results = context.Queue()
  processes = [
    context.Process(target=_load_in_process, args=(tmp_path, results))
    for _ in range(3)
  ]
  for process in processes:
    process.start()
  assert sorted(results.get(timeout=60) for _ in processes) == [0, 0, 1]
  for process in processes:
    process.join()


@pytest.mark.parametrize("inputs", ["pixels", "states"])
def test_a_split_from_the_cache_is_the_split_in_memory(
  inputs, make_config, records_dir, tmp_path, monkeypatch
):
  folder = tmp_path / "records"
  shutil.copytree(records_dir, folder, ignore=shutil.ignore_patterns("cache"))
  data = make_config(**{"data.dir": str(folder)}).data
  made = load_dataset(data, inputs, "train")
  with monkeypatch.context() as context:
    context.setattr(dataset, "read_streams", str)  # decodes no more
    mapped = load_dataset(data, inputs, "train")
  data.cache = False
  shutil.rmtree(folder / "cache")
  # Parts of three scenes: numbers of scenes go on over them.
  monkeypatch.setattr(decode, "_SCENES_PER_PART", 3)
  plain = load_dataset(data, inputs, "train")
  assert not (folder / "cache").exists()
  for found in (made, mapped):
    assert_same(found.scenes, plain.scenes)
    assert_same(found.questions, plain.questions)
    np.testing.assert_array_equal(found.family, plain.family)
    np.testing.assert_array_equal(found.image_filename, plain.image_filename)
    assert found.sha256 == plain.sha256


def test_a_split_is_decoded_anew_for_other_settings_or_shards(
  make_config, records_dir, tmp_path
):
  folder = tmp_path / "records"
  shutil.copytree(records_dir, folder, ignore=shutil.ignore_patterns("cache"))
  changes = [{}, {"data.max_objects": 12}, {"data.max_question_length": 50}]
  for change in changes:
    data = make_config(**change, **{"data.dir": str(folder)}).data
    found = load_dataset(data, "states", "val")
    assert found.scenes["objects"].shape[1] == data.max_objects
    width = found.questions["question"].shape[1]
    assert width == 50 or not data.max_question_length
  files = sorted(p.name for p in (folder / "cache").glob("*.arrays"))
  assert files == [
    "val-states-10-0.arrays",
    "val-states-10-50.arrays",
    "val-states-12-0.arrays",
  ]
  # The train split's records under the val split's name.
  manifest = (folder / "manifest.json").read_text()
  swapped = manifest.replace('"val":', '"x":').replace('"train":', '"val":')
  (folder / "manifest.json").write_text(swapped)
  data = make_config(**{"data.dir": str(folder)}).data
  assert len(load_dataset(data, "states", "val").image_filename) == 10


BOUNDED = """
import resource, sys
import numpy as np
from rn_jax.data import array_cache
from rn_jax.data.array_file import ArrayStream

rows, megabyte = 300, 2**20
def make():
  parts = (np.full((1, megabyte), i % 256, np.uint8) for i in range(rows))
  yield ArrayStream("x", np.uint8, (rows, megabyte), parts)

status = open("/proc/self/status").read()
used = int(status.split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 100 * megabyte,) * 2)
arrays = array_cache.load_arrays(sys.argv[1], "x", "key", make, 0)
order = np.random.default_rng(0).permutation(rows)
for batch in order.reshape(-1, 20):
  assert (arrays["x"][batch][:, ::999] == batch[:, None] % 256).all()
try:
  array_cache.join(make())
except MemoryError:
  print("not in memory")
"""


@pytest.mark.skipif(
  not os.path.exists("/proc/self/status"), reason="needs Linux's limits"
)
def test_a_split_may_be_larger_than_the_memory(tmp_path):
  # 300 MB, of which 100 MB may be in memory; mapped files do not count.
  found = subprocess.run(
    [sys.executable, "-c", BOUNDED, tmp_path],
    env=dict(os.environ, OPENBLAS_NUM_THREADS="1"),
    check=True,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert found.stdout == "not in memory\n"
