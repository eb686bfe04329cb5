"""Weight files that are made to do harm: refused, quickly and by one error."""

import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from places import ROOT

from rn_jax.interop import tensor_pickle
from rn_jax.interop.feature_pickle import read_feature_list
from rn_jax.interop.reference_names import strip_prefix
from rn_jax.interop.tensor_pickle import Storage, Tensor
from rn_jax.interop.torch_file import (
  TorchFileError,
  read_state_dict,
  write_state_dict,
)

FLOATS = np.arange(6, dtype=np.float32)
VIEW = Tensor(Storage("0", FLOATS.dtype, 6), 0, (2, 3), (3, 1))


def write(path, content):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("x/data.pkl", content)
    archive.writestr("x/data/0", FLOATS.tobytes())


def instructions(*parts):
  return b"".join([pickle.PROTO, b"\x02", *parts, pickle.STOP])


def body(value):
  """The instructions that make a value, without frame and end."""
  if isinstance(value, dict):
    pairs = [body(x) for item in value.items() for x in item]
    return b"".join([b"}(", *pairs, b"u"])
  if isinstance(value, Tensor):
    whole = tensor_pickle.dump({"a": value})
    return whole.split(body("a")[:6], 1)[1][:-2]
  return pickle.dumps(value, 2)[2:-1]


DEEP = b")" + 200_000 * b"\x85"  # a tuple in a tuple in a tuple ...
# ((), ()), then a pair of twice that, and so on: 2^200 empty tuples.
SHARED = b")" + 200 * b"q\x00h\x00\x86"
ORDERED_DICT = b"ccollections\nOrderedDict\n"
KEYS = {"deep": DEEP, "shared": SHARED}
PLACES = {
  "item": lambda key: instructions(b"}", key, b"Ns"),
  "items": lambda key: instructions(b"}(", key, b"Nu"),
  "after others": lambda key: instructions(b"}(K\x01N", key, b"Nu"),
  "from the memo": lambda key: instructions(key, b"q\x05}h\x05Ns"),
  "ordered": lambda key: instructions(ORDERED_DICT, b"](", key, b"N\x86e\x85R"),
  "storage": lambda key: instructions(key, b"Q"),
  "storages": lambda key: instructions(b"(", key, b"NNNNtQ"),
  "shape": lambda key: instructions(
    b"ctorch._utils\n_rebuild_tensor_v2\n(",
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n",
    *(b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ", b"K\x00", key),
    b")tR",
  ),
  "entry": lambda key: instructions(b"}X\x01\x00\x00\x00a", key, b"s"),
  "all": lambda key: instructions(key),
  "list": lambda key: instructions(b"](", key, b"K\x00\x86e"),
}
READ = """
import sys
from rn_jax.interop.feature_pickle import read_feature_list
from rn_jax.interop.torch_file import TorchFileError, read_state_dict
for path in sys.argv[1:]:
  read = read_state_dict if path.endswith(".pth") else read_feature_list
  try:
    read(path)
    sys.exit(f"{path}: accepted")
  except TorchFileError as error:
    assert len(str(error)) < 2000, path
print("all refused")
"""


def test_endless_values_are_refused_in_time(tmp_path):
  paths = []
  for key, value in KEYS.items():
    for place, make in PLACES.items():
      paths += [
        tmp_path / f"{key} {place}.pth",
        tmp_path / f"{key} {place}.pkl",
      ]
      write(paths[-2], make(value))
      paths[-1].write_bytes(make(value))
  # In a process of its own: what goes wrong here ends it, or never ends.
  found = subprocess.run(
    [sys.executable, "-c", READ, *map(str, paths)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert found.stdout == "all refused\n", found.stderr[-2000:]


def test_repeated_arguments_are_bounded(tmp_path):
  # One long list that is turned into a dictionary or a size again and again.
  pair = b"K\x01K\x02\x86"
  for function, element in ((ORDERED_DICT, pair), (b"ctorch\nSize\n", b"N")):
    again = b"h\x01h\x00\x85R" * 20_000
    many = b"](" + element * 20_000 + b"e"
    write(
      tmp_path / "x.pth",
      instructions(many, b"q\x00", function, b"q\x01](", again, b"e"),
    )
    with pytest.raises(TorchFileError, match="repeats itself too often"):
      read_state_dict(tmp_path / "x.pth")


def test_repeated_features_are_bounded(tmp_path):
  array = np.zeros((500, 500), np.float32)
  with open(tmp_path / "x.pkl", "wb") as file:
    pickle.dump([(i, array) for i in range(1000)], file)
  with pytest.raises(TorchFileError, match="more numbers than the file has"):
    read_feature_list(tmp_path / "x.pkl")


@pytest.mark.parametrize(
  ("shape", "strides"),
  [((0, 2**62, 2**62), (1, 1, 1)), ((2**62, 0, 2**62), (0, 0, 0))],
)
def test_empty_tensors_that_are_endless_are_refused(tmp_path, shape, strides):
  view = VIEW._replace(shape=shape, strides=strides)
  write(tmp_path / "x.pth", tensor_pickle.dump({"net.a": view}))
  with pytest.raises(TorchFileError, match=r"x\.pth: tensor net\.a"):
    read_state_dict(tmp_path / "x.pth")


def test_a_stride_that_is_never_taken_may_be_any(tmp_path):
  view = VIEW._replace(shape=(1, 3), strides=(2**70, 1))
  write(tmp_path / "x.pth", tensor_pickle.dump({"a": view}))
  found = read_state_dict(tmp_path / "x.pth")["a"]
  np.testing.assert_array_equal(found, [[0, 1, 2]])


@pytest.mark.parametrize(
  "wrap",
  [
    lambda net: {"epoch": 3, "net": net},
    lambda net: {"a": {"b": {"weights of the network": net}}, "c": [1, 2]},
    lambda net: {"best": net, "optimizer": {"state": {0: {"avg": VIEW}}}},
    lambda net: {"state_dict": net, "ema": {"b": VIEW}, "steps": {}},
    lambda net: {"step": VIEW, "epoch": 2, "net": net},
  ],
)
def test_the_state_dict_is_found_whatever_its_name(tmp_path, wrap):
  write(tmp_path / "x.pth", instructions(body(wrap({"a": VIEW}))))
  assert list(read_state_dict(tmp_path / "x.pth")) == ["a"]


def test_several_state_dicts_are_named(tmp_path):
  content = {"first": {"a": VIEW}, "second": {"b": VIEW}}
  write(tmp_path / "x.pth", instructions(body(content)))
  with pytest.raises(TorchFileError, match="'first', 'second'"):
    read_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize(
  "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "net.model."]
)
def test_what_is_before_all_names_is_removed(tmp_path, prefix):
  names = ["rl.f_fc1.bias", "rl.f_fc2.bias", "real.bias"]
  tensors = {prefix + name: FLOATS for name in names}
  write_state_dict(tmp_path / "x.pth", tensors)
  assert list(strip_prefix(read_state_dict(tmp_path / "x.pth"))) == names
