"""Torch files: both formats read, one written, nothing ever run."""

import contextlib
import os
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from rn_jax.interop import tensor_pickle
from rn_jax.interop.tensor_pickle import Storage, Tensor
from rn_jax.interop.torch_file import (
  TorchFileError,
  read_state_dict,
  write_state_dict,
)

DTYPES = [
  "float64",
  "float32",
  "float16",
  ml_dtypes.bfloat16,
  "int64",
  "int32",
  "int16",
  "int8",
  "uint8",
  "bool",
]
FLOATS = np.arange(6, dtype=np.float32)
STORAGE = Storage("0", FLOATS.dtype, 6)
VIEW = Tensor(STORAGE, 0, (2, 3), (3, 1))


def write_zip(path, content, blocks, byte_order=b"little", compression=0):
  with zipfile.ZipFile(path, "w", compression) as archive:
    archive.writestr("some_name/data.pkl", content)
    archive.writestr("some_name/byteorder", byte_order)
    for key, block in blocks.items():
      archive.writestr(f"some_name/data/{key}", block.tobytes())


def write_legacy(path, content, blocks, little_endian=True):
  parts = [
    pickle.dumps(0x1950A86A20F9469CFC6C, 2),
    pickle.dumps(1001, 2),
    pickle.dumps({"little_endian": little_endian}, 2),
    content,
    pickle.dumps(list(blocks), 2),
  ]
  for block in blocks.values():
    parts += [struct.pack("<q", block.size), block.tobytes()]
  path.write_bytes(b"".join(parts))


both_formats = pytest.mark.parametrize("write", [write_zip, write_legacy])


@both_formats
def test_reads_views_of_one_storage(tmp_path, write):
  tensors = {
    "whole": VIEW,
    "transposed": Tensor(STORAGE, 0, (3, 2), (1, 3)),
    "part": Tensor(STORAGE, 1, (2, 2), (3, 1)),
    "scalar": Tensor(STORAGE, 5, (), ()),
    "empty": Tensor(STORAGE, 6, (0, 4), (4, 1)),
  }
  write(tmp_path / "x.pth", tensor_pickle.dump(tensors), {"0": FLOATS})
  found = read_state_dict(tmp_path / "x.pth")
  assert list(found) == list(tensors)
  np.testing.assert_array_equal(found["whole"], [[0, 1, 2], [3, 4, 5]])
  np.testing.assert_array_equal(found["transposed"], [[0, 3], [1, 4], [2, 5]])
  np.testing.assert_array_equal(found["part"], [[1, 2], [4, 5]])
  assert found["scalar"] == 5.0
  assert found["empty"].shape == (0, 4)


@both_formats
@pytest.mark.parametrize("dtype", DTYPES)
def test_reads_every_dtype(tmp_path, write, dtype):
  values = np.array([0, 1, 100]).astype(dtype)
  tensor = Tensor(Storage("7", values.dtype, 3), 0, (3,), (1,))
  write(tmp_path / "x.pth", tensor_pickle.dump({"a": tensor}), {"7": values})
  found = read_state_dict(tmp_path / "x.pth")["a"]
  assert found.dtype == values.dtype
  np.testing.assert_array_equal(found, values)


def test_writes_what_it_reads(tmp_path):
  rng = np.random.default_rng(0)
  tensors = {
    f"a.{dtype}": (rng.normal(size=(2, 3)) * 9).astype(dtype).T
    for dtype in DTYPES
  } | {"scalar": np.float32(3.5), "empty": np.zeros((0, 2), np.float32)}
  write_state_dict(tmp_path / "x.pth", tensors)
  found = read_state_dict(tmp_path / "x.pth")
  assert list(found) == list(tensors)
  for name, value in tensors.items():
    assert found[name].dtype == value.dtype
    np.testing.assert_array_equal(found[name], value)
  assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_records_start_where_torch_expects_them(tmp_path):
  write_state_dict(tmp_path / "x.pth", {"a": FLOATS, "b": FLOATS})
  content = (tmp_path / "x.pth").read_bytes()
  first = content.index(FLOATS.tobytes())
  second = content.index(FLOATS.tobytes(), first + 1)
  assert first % 64 == second % 64 == 0


def test_what_torch_cannot_store_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r"tensor a: .* complex64"):
    write_state_dict(tmp_path / "x.pth", {"a": np.zeros(2, np.complex64)})
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_finds_the_state_dict_of_a_training_program(tmp_path, key):
  inner = tensor_pickle.dump({"a": VIEW})[2:-1]
  content = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK
  content += pickle.dumps("epoch", 2)[2:-1] + pickle.dumps(3, 2)[2:-1]
  content += pickle.dumps(key, 2)[2:-1] + inner
  content += pickle.SETITEMS + pickle.STOP
  write_zip(tmp_path / "x.pth", content, {"0": FLOATS})
  assert list(read_state_dict(tmp_path / "x.pth")) == ["a"]


def test_ignores_the_layer_versions_torch_attaches(tmp_path):
  content = tensor_pickle.dump({"a": VIEW})[:-1]
  content += pickle.dumps({"_metadata": {"": 1}, "items": 3}, 2)[2:-1]
  content += pickle.BUILD + pickle.STOP
  write_legacy(tmp_path / "x.pth", content, {"0": FLOATS})
  assert list(read_state_dict(tmp_path / "x.pth")) == ["a"]


class Runs:
  """Pickles as a call of any function."""

  def __init__(self, function, *args):
    self.call = function, args

  def __reduce__(self):
    return self.call


@both_formats
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("name", ["system", "eval", "exec", "mkdir"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_malicious_file_is_refused_and_nothing_runs(
  tmp_path, write, protocol, name, nested
):
  marker = tmp_path / "marker"
  code = f"open({str(marker)!r}, 'w').close()"
  evil = {
    "system": Runs(os.system, f"touch {marker}"),
    "eval": Runs(eval, code),
    "exec": Runs(exec, code),
    "mkdir": Runs(os.mkdir, str(marker)),
  }[name]
  content = {"a": [1, {"b": evil}]} if nested else evil
  pickled = pickle.dumps(content, protocol)
  assert not marker.exists()
  write(tmp_path / "x.pth", pickled, {})
  with pytest.raises(TorchFileError, match=r"x\.pth: .*nothing was run") as e:
    read_state_dict(tmp_path / "x.pth")
  if protocol in (2, 4) or not nested:
    assert f".{name}," in str(e.value)
  assert not marker.exists()
  # The same bytes do run where they are trusted: the test tests something.
  pickle.loads(pickled)
  assert marker.exists()


@pytest.mark.parametrize("part", range(5))
def test_every_pickle_of_the_old_format_is_restricted(tmp_path, part):
  parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, []]
  marker = tmp_path / "marker"
  parts[part] = Runs(open, str(marker), "w")
  content = b"".join(pickle.dumps(value, 2) for value in parts)
  (tmp_path / "x.pth").write_bytes(content)
  with pytest.raises(TorchFileError, match=r"asks for _?io\.open"):
    read_state_dict(tmp_path / "x.pth")
  assert not marker.exists()


def instructions(*parts):
  return b"".join([pickle.PROTO, b"\x02", *parts, pickle.STOP])


ORDERED_DICT = b"ccollections\nOrderedDict\n"
STATE = pickle.dumps({"__call__": 1, "_call": 2}, 2)[2:-1]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (instructions(ORDERED_DICT, STATE, pickle.BUILD), "change a function"),
    (instructions(b"ctorch\nFloatStorage\n", STATE, pickle.BUILD), "damaged"),
    (instructions(b"ctorch\nFloatStorage\n", b")R"), "damaged"),
    (instructions(ORDERED_DICT, b")", pickle.NEWOBJ), "damaged"),
    (instructions(b"(", b"ios\nsystem\n"), "instruction INST"),
    (instructions(b"cos.path\njoin\n"), r"os\.path\.join"),
    (instructions(b"ctorch\n_utils.os.system\n"), "nothing was run"),
    (instructions(b"r\xff\xff\xff\xff"), "memo index"),
    (instructions(pickle.EMPTY_LIST), "does not hold a state dict"),
    (pickle.dumps({"epoch": 3}, 2), r"'epoch' .* type int, not a tensor"),
    (pickle.dumps({}, 2), "does not hold a state dict"),
    (b"", "damaged"),
  ],
)
def test_odd_pickles_are_refused(tmp_path, content, message):
  write_zip(tmp_path / "x.pth", content, {})
  with pytest.raises(TorchFileError, match=message):
    read_state_dict(tmp_path / "x.pth")


@both_formats
@pytest.mark.parametrize(
  ("offset", "shape", "strides"),
  [
    (1, (2, 3), (3, 1)),
    (0, (2, 3), (4, 1)),
    (-1, (2,), (1,)),
    (5, (2,), (-1,)),
    (0, (-1, 3), (3, 1)),
    (0, (2, 3), (3,)),
    (0, (10**12,), (0,)),
    (0, (2**62, 2**62), (0, 0)),
    (0, (1.0,), (1,)),
    (0, (1,) * 40, (1,) * 40),
  ],
)
def test_a_tensor_beyond_its_storage_is_refused(
  tmp_path, write, offset, shape, strides
):
  content = tensor_pickle.dump(
    {"net.a": Tensor(STORAGE, offset, shape, strides)}
  )
  write(tmp_path / "x.pth", content, {"0": FLOATS})
  with pytest.raises(TorchFileError, match=r"tensor net\.a"):
    read_state_dict(tmp_path / "x.pth")


@both_formats
@pytest.mark.parametrize("size", [5, 7, 2**40])
def test_a_storage_of_another_size_is_refused(tmp_path, write, size):
  storage = Storage("0", FLOATS.dtype, size)
  content = tensor_pickle.dump({"a": Tensor(storage, 0, (2,), (1,))})
  write(tmp_path / "x.pth", content, {"0": FLOATS})
  with pytest.raises(TorchFileError, match="storage 0"):
    read_state_dict(tmp_path / "x.pth")


@both_formats
def test_a_missing_storage_is_refused(tmp_path, write):
  write(tmp_path / "x.pth", tensor_pickle.dump({"a": VIEW}), {})
  with pytest.raises(TorchFileError, match="storage"):
    read_state_dict(tmp_path / "x.pth")


@both_formats
def test_a_file_cut_short_anywhere_is_refused(tmp_path, write):
  write(tmp_path / "x.pth", tensor_pickle.dump({"a": VIEW}), {"0": FLOATS})
  content = (tmp_path / "x.pth").read_bytes()
  for length in range(len(content)):
    (tmp_path / "x.pth").write_bytes(content[:length])
    with pytest.raises(TorchFileError, match=r"x\.pth: "):
      read_state_dict(tmp_path / "x.pth")


@both_formats
def test_flipped_bytes_never_cause_another_error(tmp_path, write):
  path = tmp_path / "x.pth"
  write(path, tensor_pickle.dump({"a": VIEW}), {"0": FLOATS})
  content = path.read_bytes()
  rng = np.random.default_rng(0)
  for _ in range(500):
    damaged = bytearray(content)
    damaged[rng.integers(len(content))] = rng.integers(256)
    path.write_bytes(damaged)
    with contextlib.suppress(TorchFileError):
      read_state_dict(path)


def test_a_flipped_number_in_a_zip_archive_is_noticed(tmp_path):
  path = tmp_path / "x.pth"
  write_state_dict(path, {"a": FLOATS})
  content = bytearray(path.read_bytes())
  content[bytes(content).index(FLOATS.tobytes()) + 5] ^= 1
  path.write_bytes(content)
  with pytest.raises(TorchFileError, match="CRC"):
    read_state_dict(path)


def test_other_machines_and_other_files_are_refused(tmp_path):
  path = tmp_path / "x.pth"
  content = tensor_pickle.dump({"a": VIEW})
  write_legacy(path, content, {"0": FLOATS}, little_endian=False)
  with pytest.raises(TorchFileError, match="big-endian"):
    read_state_dict(path)
  write_zip(path, content, {"0": FLOATS}, byte_order=b"big")
  with pytest.raises(TorchFileError, match="big-endian"):
    read_state_dict(path)
  write_zip(path, content, {"0": FLOATS}, compression=zipfile.ZIP_DEFLATED)
  with pytest.raises(TorchFileError, match="compressed"):
    read_state_dict(path)
  path.write_bytes(b"GIF89a")
  with pytest.raises(
    TorchFileError, match=r"not a file written by torch\.save"
  ):
    read_state_dict(path)
  path.write_bytes(pickle.dumps({"a": 1}))
  with pytest.raises(
    TorchFileError, match=r"not a file written by torch\.save"
  ):
    read_state_dict(path)
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("a.txt", "text")
  with pytest.raises(TorchFileError, match=r"not one written by torch\.save"):
    read_state_dict(path)
  with pytest.raises(FileNotFoundError):
    read_state_dict(tmp_path / "absent.pth")
