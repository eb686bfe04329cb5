"""Checkpoints come back bit for bit, and damage never passes for a network."""

import asyncio
import gc
import json
import logging
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl import logging as absl_logging
from places import ROOT

from rn_jax.checkpoint import (
  Checkpointer,
  CheckpointError,
  load_model,
  write_model,
)
from rn_jax.checkpoint_errors import quiet_orbax
from rn_jax.train_state import TrainState

CONFIG = {"model": {"g_dims": [4, 4]}, "name": "tiny"}
VOCABULARY = {"questions": {"what": 1}, "answers": {"yes": 1}}


def make_state(step, *, width=3, batch_stats=True):
  """A state whose numbers depend on the step, with bf16 and int leaves.

  The encoder's kernel is large enough for a file of its own.
  """
  rng = np.random.default_rng(step)
  params = {
    "encoder": {"kernel": rng.normal(size=(500, width)).astype(np.float32)},
    "head": {"kernel": rng.normal(size=(2, 2)).astype(jnp.bfloat16)},
  }
  adam = optax.adam(1e-3)
  _, opt_state = adam.update(params, adam.init(params))
  return TrainState(
    step=np.array(step, np.int32),
    params=params,
    batch_stats={"bn": {"mean": np.full(3, step, np.float32)}}
    if batch_stats
    else {},
    opt_state=jax.tree.map(np.array, opt_state),
  )


def like(state):
  return jax.eval_shape(lambda: jax.tree.map(jnp.asarray, state))


def save(workdir, steps, accuracies=None, **kwargs):
  """Saves one checkpoint per step, each complete before the next."""
  accuracies = accuracies or [None] * len(steps)
  with Checkpointer(workdir / "checkpoints", **kwargs) as checkpointer:
    for step, accuracy in zip(steps, accuracies, strict=True):
      checkpointer.save(
        make_state(step),
        config=CONFIG,
        vocabulary=VOCABULARY,
        metrics=None if accuracy is None else {"accuracy": accuracy},
      )
  return workdir / "checkpoints"


def restore(directory, width=3):
  with Checkpointer(directory) as checkpointer:
    return checkpointer.restore_latest(like(make_state(0, width=width)))


def steps_in(directory):
  return sorted(int(p.name) for p in directory.iterdir() if p.name.isdigit())


def assert_same(tree, expected):
  assert jax.tree.structure(tree) == jax.tree.structure(expected)
  for got, want in zip(
    jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True
  ):
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    assert np.asarray(got).tobytes() == np.asarray(want).tobytes()


def largest_file(directory, pattern):
  files = [p for p in directory.glob(pattern) if p.is_file()]
  return max(files, key=lambda p: p.stat().st_size)


@pytest.fixture
def warnings_of(caplog, monkeypatch):
  """What was logged as a warning or worse (absl does not propagate)."""
  monkeypatch.setattr(absl_logging.get_absl_logger(), "propagate", True)
  caplog.set_level(logging.WARNING, logger="absl")
  return lambda: [r.getMessage() for r in caplog.records]


def test_orbax_is_quiet_where_info_is_shown(tmp_path, warnings_of, caplog):
  caplog.set_level(logging.INFO, logger="absl")
  save(tmp_path, [1])
  load_model(tmp_path)
  assert warnings_of() == []
  absl_logging.info("ours")
  assert warnings_of() == ["ours"]


@pytest.mark.parametrize("batch_stats", [True, False])
def test_round_trip_is_bitwise(tmp_path, batch_stats, warnings_of):
  state = make_state(7, batch_stats=batch_stats)
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(
      state,
      config=CONFIG,
      vocabulary=VOCABULARY,
      metrics={"accuracy": np.float32(0.5), "loss": float("nan")},
    )
    restored, meta = checkpointer.restore_latest(like(state))
  assert_same(restored, state)
  assert meta["step"] == 7
  assert meta["config"] == CONFIG
  assert meta["vocabulary"] == VOCABULARY
  assert meta["metrics"] == {"accuracy": 0.5, "loss": None}
  assert warnings_of() == []


def test_replicated_state_and_donated_buffers(tmp_path):
  state = make_state(3)
  mesh = jax.sharding.Mesh(np.array(jax.local_devices()), ("batch",))
  replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  on_device = jax.device_put(state, replicated)
  structure = like(state)
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(on_device, config={}, vocabulary={})
    # The next update overwrites the buffers while the save is under way.
    jax.jit(lambda s: jax.tree.map(lambda x: x * 0 + 1, s), donate_argnums=0)(
      on_device
    )
    restored, _ = checkpointer.restore_latest(structure)
  assert_same(restored, state)


def test_source_may_change_while_saving(tmp_path):
  state = make_state(3)
  with Checkpointer(tmp_path) as checkpointer:
    checkpointer.save(state, config={}, vocabulary={})
    for leaf in jax.tree.leaves(state):
      leaf.fill(9) if leaf.ndim else None
    restored, _ = checkpointer.restore_latest(like(state))
  assert_same(restored, make_state(3))


def test_no_checkpoint_is_none(tmp_path):
  with Checkpointer(tmp_path / "checkpoints") as checkpointer:
    assert checkpointer.restore_latest(like(make_state(0))) is None


@pytest.mark.parametrize("path", ["", "checkpoints", "checkpoints/2"])
def test_model_restores_alone(tmp_path, path):
  directory = save(tmp_path, [1, 2])
  shutil.rmtree(directory / "2" / "train")
  variables, meta = load_model(tmp_path / path, "latest")
  state = make_state(2)
  expected = {"params": state.params, "batch_stats": state.batch_stats}
  assert_same(variables, expected)
  assert meta["config"] == CONFIG


def test_same_step_twice_keeps_the_first(tmp_path):
  directory = save(tmp_path, [1, 1], [0.5, 0.9])
  assert load_model(directory)[1]["metrics"] == {"accuracy": 0.5}


def test_best_and_latest_are_kept(tmp_path):
  accuracies = [0.3, 0.8, None, 0.5, None, None]
  directory = save(tmp_path, [1, 2, 3, 4, 5, 6], accuracies)
  assert steps_in(directory) == [2, 5, 6]
  assert load_model(directory, "best")[1]["step"] == 2
  assert load_model(directory, "latest")[1]["step"] == 6
  # A resumed run knows the best of the run before.
  save(tmp_path, [7, 8, 9], [0.7, None, 0.8])
  assert steps_in(directory) == [8, 9]
  assert load_model(directory, "best")[1]["step"] == 9  # Equal, but later.


def test_keep(tmp_path):
  directory = save(tmp_path, [1, 2, 3, 4, 5], keep=3)
  assert steps_in(directory) == [3, 4, 5]


def test_best_without_any_accuracy_is_the_latest(tmp_path):
  directory = save(tmp_path, [1, 2], [None, float("nan")])
  assert load_model(directory, "best")[1]["step"] == 2


def flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 0x10
  path.write_bytes(content)


def truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip, truncate, pathlib.Path.unlink])
@pytest.mark.parametrize("item", ["model", "train", "meta"])
def test_damage_falls_back_to_the_previous(tmp_path, item, damage, warnings_of):
  directory = save(tmp_path, [1, 2], [0.1, 0.2])
  pattern = "*" if item == "meta" else "ocdbt.process_0/d/*"  # The numbers.
  damage(largest_file(directory / "2" / item, pattern))

  if item != "train":
    variables, meta = load_model(tmp_path)
    assert meta["step"] == 1
    assert_same(variables["params"], make_state(1).params)
    with pytest.raises(CheckpointError, match=rf"step 2: {item}: "):
      load_model(directory / "2")

  state, meta = restore(directory)
  assert meta["step"] == 1
  assert_same(state, make_state(1))
  messages = [m for m in warnings_of() if m.startswith("Skipped")]
  assert messages
  for message in messages:
    assert f"step 2 in {directory}: {item}: " in message
    assert "Using step 1" in message

  # The resumed run reaches step 2 again and must be able to save it.
  assert (directory / "2.damaged").is_dir()
  save(tmp_path, [2])
  assert restore(directory)[1]["step"] == 2


DISK_FULL = """
import errno, os, pathlib, sys
from rn_jax.checkpoint import load_model, write_model
import numpy as np
folder = pathlib.Path(sys.argv[1])
for path in folder.rglob("ocdbt.process_0/d/*"):
  path.write_bytes(path.read_bytes()[:9])
try:
  load_model(folder)
except ValueError as error:
  print(error)
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # bytes of a file
rng = np.random.default_rng(0)
params = {f"x{i}": rng.normal(size=(100, 99)) for i in range(30)}
folder = folder.with_name("other")
try:
  write_model(folder, {"params": params}, config={}, vocabulary={}, step=9)
except OSError as error:
  assert error.filename == str(folder), error.filename
  assert error.errno == errno.EFBIG, error.errno
  print(error)
"""


def test_what_the_disk_refuses_is_said_once(tmp_path):
  """Orbax would print a traceback for each of its threads and arrays."""
  directory = tmp_path / "checkpoints"
  params = {
    f"x{i}": np.random.default_rng(i).normal(size=999) for i in range(30)
  }
  write_model(directory, {"params": params}, config={}, vocabulary={})
  done = subprocess.run(
    [sys.executable, "-c", DISK_FULL, directory],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  read, step, written = done.stdout.strip().splitlines()
  assert read.endswith("no checkpoint can be restored:")
  assert "step 0: model: unreadable" in step
  assert "a checkpoint cannot be written: File too large" in written
  assert "Traceback" not in done.stderr


def test_what_other_arrays_raise_is_not_told(caplog):
  class Array:
    def __await__(self):
      yield
      raise ValueError("unreadable")

  async def coroutine():
    raise ValueError("of somebody else")

  async def forget(*awaitables):
    await asyncio.wait([asyncio.ensure_future(x) for x in awaitables])

  quiet_orbax()
  with caplog.at_level("ERROR", "asyncio"):
    asyncio.run(forget(Array(), coroutine()))
    gc.collect()
  assert [str(r.exc_info[1]) for r in caplog.records] == ["of somebody else"]


def test_flipped_bits_never_change_a_number_unnoticed(tmp_path):
  """Also where orbax restores without complaint, which it often does."""
  directory = save(tmp_path, [1])
  path = largest_file(directory / "1" / "model", "ocdbt.process_0/d/*")
  whole = path.read_bytes()
  _, original = load_model(directory)
  for at in np.linspace(0, len(whole) - 1, 24).astype(int):
    path.write_bytes(
      whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
    )
    try:
      variables, _ = load_model(directory)
    except CheckpointError:
      continue
    assert_same(variables["params"], make_state(1).params)  # An unused byte.
  path.write_bytes(whole)
  assert load_model(directory)[1] == original


def test_a_changed_word_in_meta_is_noticed(tmp_path):
  directory = save(tmp_path, [1])
  path = directory / "1" / "meta" / "metadata"
  path.write_text(path.read_text().replace("what", "that"))
  with pytest.raises(CheckpointError, match="meta: its content does not"):
    load_model(directory)


def test_unknown_format_version(tmp_path):
  directory = save(tmp_path, [1])
  path = directory / "1" / "meta" / "metadata"
  meta = json.loads(path.read_text())
  path.write_text(json.dumps(meta | {"format_version": 99}))
  with pytest.raises(CheckpointError, match="format version 99"):
    load_model(directory)


def test_nothing_restorable_lists_every_step(tmp_path):
  directory = save(tmp_path, [1, 2])
  flip(directory / "1" / "meta" / "metadata")
  shutil.rmtree(directory / "2" / "model")
  for read in (load_model, restore):
    with pytest.raises(CheckpointError) as error:
      read(directory)
    assert "step 1: meta: " in str(error.value)
    assert "step 2: model: " in str(error.value)
  assert steps_in(directory) == [1, 2]  # Left for the user to look at.


def test_leftovers_are_ignored(tmp_path):
  directory = save(tmp_path, [1, 2])
  (directory / "9").mkdir()
  shutil.copytree(directory / "2", directory / "8.orbax-checkpoint-tmp")
  assert load_model(directory, "latest")[1]["step"] == 2
  assert restore(directory)[1]["step"] == 2
  assert steps_in(directory) == [1, 2]  # The empty 9 does not block step 9.


def test_only_an_empty_step_is_no_checkpoint(tmp_path):
  (tmp_path / "9").mkdir()
  assert restore(tmp_path) is None
  with pytest.raises(CheckpointError, match="no checkpoint here"):
    load_model(tmp_path)


def test_mismatch_names_the_tensor(tmp_path):
  directory = save(tmp_path, [1])
  with pytest.raises(CheckpointError) as error:
    restore(directory, width=4)
  assert (
    "params/encoder/kernel: expected float32[500, 4], found float32[500, 3]"
    in str(error.value)
  )
  assert "opt_state/0/mu/encoder/kernel" in str(error.value)
  assert steps_in(directory) == [1]


def test_missing_and_unexpected_names(tmp_path):
  directory = save(tmp_path, [1])
  other = make_state(1, batch_stats=False)
  other.params["tail"] = other.params.pop("head")
  with (
    Checkpointer(directory) as checkpointer,
    pytest.raises(CheckpointError) as error,
  ):
    checkpointer.restore_latest(like(other))
  text = str(error.value)
  assert "batch_stats/bn/mean: expected nothing, found float32[3]" in text
  assert "params/tail/kernel: expected bfloat16[2, 2], found nothing" in text


def test_imported_weights(tmp_path):
  state = make_state(4)
  directory = tmp_path / "checkpoints"
  write_model(
    directory,
    {"params": state.params},
    config=CONFIG,
    vocabulary=VOCABULARY,
    step=4,
  )
  variables, meta = load_model(tmp_path)
  assert_same(variables, {"params": state.params, "batch_stats": {}})
  assert meta["vocabulary"] == VOCABULARY
  with pytest.raises(CheckpointError, match="network alone"):
    restore(directory)
  with pytest.raises(CheckpointError, match="already holds"):
    write_model(directory, variables, config={}, vocabulary={}, step=4)


def test_which_is_checked(tmp_path):
  with pytest.raises(ValueError, match="'newest'"):
    load_model(tmp_path, "newest")


_SAVE_FOR_EVER = """
import sys
import numpy as np
from rn_jax.checkpoint import Checkpointer
from rn_jax.train_state import TrainState

noise = np.random.default_rng(0).normal(size=(1000, 1000)).astype(np.float32)
with Checkpointer(sys.argv[1]) as checkpointer:
  for step in range(1, 10_000):
    state = TrainState(
      step=np.array(step, np.int32),
      params={"kernel": noise + step},
      batch_stats={},
      opt_state={"mu": noise - step},
    )
    checkpointer.save(state, config={}, vocabulary={})
    print(step, flush=True)
"""


def test_killed_while_saving(tmp_path):
  """SIGKILL while step n is being written leaves n - 1 or n, whole."""
  process = subprocess.Popen(
    [sys.executable, "-c", _SAVE_FOR_EVER, str(tmp_path)],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
  )
  with process:
    started = 0
    while started < 4:
      started = int(process.stdout.readline())
    while not list(tmp_path.glob("*.orbax-checkpoint-tmp*")):
      assert process.poll() is None
      time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    started = int((process.stdout.read().split() or [started])[-1])
  state = TrainState(
    step=np.array(0, np.int32),
    params={"kernel": np.zeros((1000, 1000), np.float32)},
    batch_stats={},
    opt_state={"mu": np.zeros((1000, 1000), np.float32)},
  )
  with Checkpointer(tmp_path) as checkpointer:
    restored, meta = checkpointer.restore_latest(state)
  assert started - 1 <= meta["step"] <= started + 1
  sum_ = restored.params["kernel"] + restored.opt_state["mu"]
  noise = np.random.default_rng(0).normal(size=(1000, 1000))
  np.testing.assert_allclose(sum_, 2 * noise.astype(np.float32), atol=1e-5)


_ONE_OF_TWO_PROCESSES = """
import sys
import jax
import numpy as np
from rn_jax.checkpoint import Checkpointer, load_model
from rn_jax.train_state import TrainState

folder, address, index = sys.argv[1], sys.argv[2], int(sys.argv[3])
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(address, num_processes=2, process_id=index)
mesh = jax.sharding.Mesh(np.array(jax.local_devices()), ("batch",))
replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
with Checkpointer(folder) as checkpointer:
  for step in (1, 2, 3):
    state = TrainState(
      step=np.array(step, np.int32),
      params={"kernel": np.full(4, step, np.float32)},
      batch_stats={},
      opt_state={},
    )
    state = jax.device_put(state, replicated)
    metrics = {"accuracy": 1 / step}
    checkpointer.save(state, config={}, vocabulary={}, metrics=metrics)
  restored, meta = checkpointer.restore_latest(state)
assert restored.params["kernel"].tolist() == [3, 3, 3, 3]
assert load_model(folder)[1]["step"] == 1
"""


def test_two_processes_with_two_devices_each(tmp_path):
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  code = [sys.executable, "-c", _ONE_OF_TWO_PROCESSES, str(tmp_path), address]
  root = ROOT
  processes = [
    subprocess.Popen([*code, index], cwd=root, stderr=subprocess.PIPE)
    for index in "01"
  ]
  for process in processes:
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr.decode()
  assert steps_in(tmp_path) == [1, 2, 3]
